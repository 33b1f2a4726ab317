"""An SMTP server that answers as the recipient's name tells it to, and keeps every mail it has taken.

later     451 the first time that a mail comes, then 250
unknown   550 5.1.1 at RCPT
policy    554 5.7.1 after the body
drop      hangs up in place of the reply to the body, the first time that a mail comes
stall     never replies to the body, the first time that a mail comes
anybody else: 250

Arguments: folder, port, and optionally a certificate with its key (PEM), then how it is used: `starttls` (required before
anything else) or `wrapped` (TLS from the first byte). A login has to be user and hunter2.
Each mail taken is a file <message id>.<number>.eml; `said` has a line for each login and each sender that was told, with
the version of TLS, or `clear`.
"""
import asyncio, pathlib, re, ssl, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, SMTP

folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
context, wrapped = None, sys.argv[4:5] == ["wrapped"]
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
seen = {}
taken = {}

def note(session, server, what):
    tls = server.transport.get_extra_info("ssl_object")
    with open(folder / "said", "a") as said:
        said.write(f"{what} {tls.version() if tls else 'clear'}\n")

class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        note(session, server, "sender")
        envelope.mail_from = address
        return "250 fine"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown"):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server, session, envelope):
        name = envelope.rcpt_tos[0].split("@")[0]
        key = re.search(rb"^Message-ID: <([^@>]+)", envelope.content, re.M | re.I).group(1).decode()
        seen[key] = seen.get(key, 0) + 1
        first = seen[key] == 1
        if name.startswith("policy"):
            return "554 5.7.1 we do not like you"
        if first and name.startswith("later"):
            return "451 come back later"
        if first and name.startswith("drop"):
            server.transport.abort()
            return "451 nobody reads this"
        if first and name.startswith("stall"):
            await asyncio.sleep(600)
        taken[key] = taken.get(key, 0) + 1
        # Under another name first, so that nobody reads half a mail.
        path = folder / f"{key}.{taken[key]}.eml"
        path.with_suffix(".part").write_bytes(envelope.content)
        path.with_suffix(".part").rename(path)
        return "250 taken"

def welcome(server, session, envelope, mechanism, data):
    note(session, server, "login")
    right = data.login == b"user" and data.password == b"hunter2"
    # Not handled: the library answers 535.
    return AuthResult(success=right, handled=False)

class Server(Controller):
    def factory(self):
        starttls = None if wrapped else context
        return SMTP(self.handler, hostname="localhost", tls_context=starttls, require_starttls=starttls is not None,
                    auth_require_tls=False, authenticator=welcome, data_size_limit=None, loop=self.loop)

# The controller's own start-up check opens a connection, which is no mail's.
server = Server(Handler(), hostname="127.0.0.1", port=port, ssl_context=context if wrapped else None)
server.start()
print("ready", flush=True)
time.sleep(600)
