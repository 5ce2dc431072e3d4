"""What runs beside the calls: HTTP API, records, webhooks, model, speech. Nothing of it is loaded in a worker."""
