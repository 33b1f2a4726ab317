"""Makes what a mail server and a signer need, in the folder named by the argument.

ca.pem                    a certificate authority of the house
server.pem                its certificate for 127.0.0.1 and localhost, with the key
elsewhere.pem             its certificate for another host, with the key
rsa.pem, ed25519.pem      keys that sign mails
rsa.txt, ed25519.txt      their records in the DNS
"""
import base64, datetime, ipaddress, pathlib, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

folder = pathlib.Path(sys.argv[1])
now = datetime.datetime.now(datetime.timezone.utc)

def private(key):
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())

def certificate(name, key, issuer, signer, extensions):
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=2))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(signer, hashes.SHA256()).public_bytes(form.Encoding.PEM)

def named(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

authority = ec.generate_private_key(ec.SECP256R1())
root = x509.BasicConstraints(ca=True, path_length=0)
(folder / "ca.pem").write_bytes(certificate(named("house"), authority, named("house"), authority, [root]))
for file, hosts in [("server.pem", [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                    ("elsewhere.pem", [x509.DNSName("elsewhere.example")])]:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = certificate(named("server"), key, named("house"), authority, [x509.SubjectAlternativeName(hosts)])
    (folder / file).write_bytes(leaf + private(key))

key = rsa.generate_private_key(65537, 2048)
der = key.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
(folder / "rsa.pem").write_bytes(private(key))
(folder / "rsa.txt").write_text("v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode())
key = ed25519.Ed25519PrivateKey.generate()
raw = key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
(folder / "ed25519.pem").write_bytes(private(key))
(folder / "ed25519.txt").write_text("v=DKIM1; k=ed25519; p=" + base64.b64encode(raw).decode())
