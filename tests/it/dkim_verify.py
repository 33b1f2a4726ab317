"""Whether a mail's DKIM signature holds, by a library of other authors, dkimpy. Prints `valid` or why it is not.

Arguments: the mail, the name in the DNS under which the key has to be asked for, and a file with the record there.
"""
import pathlib, sys
import dkim

mail, name, record = pathlib.Path(sys.argv[1]).read_bytes(), sys.argv[2], pathlib.Path(sys.argv[3]).read_bytes()

def dns(asked, timeout=5):
    return record if asked.decode().rstrip(".") == name else None

try:
    print("valid" if dkim.DKIM(mail).verify(dnsfunc=dns) else "invalid")
except dkim.DKIMException as reason:
    print(f"invalid: {reason}")
