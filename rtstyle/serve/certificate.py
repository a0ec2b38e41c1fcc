"""A certificate of one's own making: browsers warn of it once, and then give their camera."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rtstyle.errors import OutputError
from rtstyle.files import atomic_write, cache_folder
from rtstyle.serve.auth import network_address

_VALID = datetime.timedelta(days=397)  # browsers refuse longer ones
_RENEWED = datetime.timedelta(days=30)


def own_certificate() -> tuple[Path, Path]:
    """The paths of a certificate for this machine's names and addresses, and of its key.

    Kept in the user's cache, so that browsers are asked once; made again when it is about to end or
    the machine has another address. Raises `OutputError` where it cannot be written.
    """
    folder = cache_folder() / "tls"
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = _names()
    if not (key.is_file() and _is_good(certificate, names)):
        private = ec.generate_private_key(ec.SECP256R1())
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )  # fmt: skip
        made = _signed(private, names).public_bytes(serialization.Encoding.PEM)
        try:
            with atomic_write(key, parents=True) as part:
                part.touch(0o600)
                part.write_bytes(pem)
            with atomic_write(certificate) as part:
                part.write_bytes(made)
        except OSError as error:
            raise OutputError(
                f"No certificate can be kept in {folder}: {error.strerror or error}."
            ) from error
    return certificate, key


def _names() -> list[x509.GeneralName]:
    host = socket.gethostname()
    addresses = {network_address("0.0.0.0"), network_address("::"), "127.0.0.1", "::1"}
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.DNSName(name) for name in (host, f"{host}.local") if name.isascii()]
    return names + [x509.IPAddress(ipaddress.ip_address(one)) for one in sorted(addresses)]


def _is_good(path: Path, names: list[x509.GeneralName]) -> bool:
    try:
        kept = x509.load_pem_x509_certificate(path.read_bytes())
        has = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    now = datetime.datetime.now(datetime.UTC)
    return set(names) <= set(has) and kept.not_valid_after_utc > now + _RENEWED


def _signed(private: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName]) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rtstyle")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
