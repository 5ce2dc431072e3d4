"""An authority of the tests and its certificates: made by the openssl command, on curves, in milliseconds."""
import subprocess
from pathlib import Path

TLS = """
[[listener]]
name = "tls"
bind = "tls:{net}.1:5061"
tls = ["edge"]

[[tls]]
name = "edge"
certificate = "{certificate}"
key = "{key}"
ca = "{ca}"
"""
"""Of an edge's configuration, to be filled in: a listener with a certificate, that trusts an authority."""


def run(*arguments: object, data: str = "") -> str:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, text=True, input=data,
                          capture_output=True).stdout


class Authority:
    """Gives certificates into a folder."""

    def __init__(self, folder: Path, name: str = "ca"):
        self.folder = folder
        self.certificate = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
            f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    def give(self, name: str, *names: str, days: int = 30) -> tuple[str, str]:
        """A certificate and its key, by file; names: DNS:..., URI:..., IP:... . days: below zero, it has ended."""
        certificate, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(names)}\n" if names else "")
        times = ["-days", str(days)]
        if days < 0:
            # x509 knows no day before now; ca does.
            (self.folder / "index.txt").write_text("")
            (self.folder / "serial").write_text("01\n")
            (self.folder / "ca.cnf").write_text(
                f"[ca]\ndefault_ca=a\n[a]\ndatabase={self.folder}/index.txt\nserial={self.folder}/serial\n"
                f"new_certs_dir={self.folder}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
            run("ca", "-batch", "-notext", "-config", self.folder / "ca.cnf", "-cert", self.certificate, "-keyfile",
                self.key, "-in", request, "-out", certificate, "-extfile", extensions, "-startdate", "20200101000000Z",
                "-enddate", "20200201000000Z")
        else:
            run("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-out",
                certificate, *times, "-extfile", extensions)
        return str(certificate), str(key)
