"""A25: a server without a certificate for its name gets no request, over HTTP and over the stream alike."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from client_lib.errors import TransportError
from client_lib.transport import Connected, HttpTransport, Stream
from protocol import api
from tests.client_lib.transport.server import LOGIN, SmallServer


def _certificate(folder: Path, name: x509.GeneralName) -> Path:
    """A self-signed certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def _server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


HERE = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))


async def test_a25_a_trusted_certificate_for_the_name_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(tmp_path, HERE)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with SmallServer().running(_server_tls(certificate)) as server, HttpTransport(server.url, LOGIN) as http:
        assert await http.key_package_count() == api.KeyPackageCount(7)
        stream = Stream(http)
        events = stream.events()
        assert await anext(events) == Connected()
        await events.aclose()


@pytest.mark.parametrize("trusted, name", [(False, HERE), (True, x509.DNSName("elsewhere.example"))])
async def test_a25_another_certificate_is_refused_before_anything_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, name: x509.GeneralName
) -> None:
    certificate = _certificate(tmp_path, name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with SmallServer().running(_server_tls(certificate)) as server:
        async with HttpTransport(server.url, LOGIN) as http:
            with pytest.raises(TransportError, match="did not prove who it is") as refused:
                await http.token()
            assert not refused.value.retryable
            http._token = "a token of before"
            with pytest.raises(TransportError, match="did not prove who it is"):
                await anext(Stream(http).events())
        assert server.sessions_opened == 0
        assert server.requests == []
