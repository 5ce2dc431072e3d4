"""The certificate of a run over TLS: one for the edge, its peer and the UAS, made by the openssl command."""
import subprocess
from pathlib import Path


def make(folder: Path, *hosts: str) -> tuple[str, str]:
    """Return a self-signed certificate for IP addresses, which is its own authority, and its key: files in `folder`."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=bench", "-addext", f"subjectAltName={','.join(f'IP:{host}' for host in hosts)}",
         "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return str(certificate), str(key)
