"""A mail server that takes one mail by TLS, with a password. Prints its port, and at the end what it heard as JSON."""

import base64
import json
import socket
import ssl
import sys

certificate, way = sys.argv[1:]
heard = {"tls": False, "mail": ""}
listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(60)
print(listener.getsockname()[1], flush=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)


def talk(connection: socket.socket, secure: bool) -> None:
    """Answers until the client is done."""
    heard["tls"] = secure
    lines = connection.makefile("rwb", buffering=0)

    def say(text: str) -> None:
        lines.write(text.encode() + b"\r\n")

    if secure == (way == "smtps"):
        say("220 localhost test")
    while line := lines.readline().decode().rstrip("\r\n"):
        word = line.split(" ")[0].upper()
        if word == "EHLO" and not secure:
            say("250-localhost\r\n250 STARTTLS")
        elif word == "EHLO":
            say("250-localhost\r\n250 AUTH PLAIN LOGIN")
        elif word == "STARTTLS":
            say("220 go on")
            return talk(context.wrap_socket(connection, server_side=True), True)
        elif word == "AUTH":
            heard["login"] = base64.b64decode(line.split(" ")[2]).decode().split("\0")[1:]
            say("235 welcome")
        elif word == "DATA":
            say("354 go on")
            while (part := lines.readline().decode()) != ".\r\n":
                heard["mail"] += part
            say("250 taken")
        elif word == "QUIT":
            say("221 bye")
            return None
        else:
            say("250 yes")
    return None


try:
    accepted = listener.accept()[0]
    accepted.settimeout(60)
    if way == "smtps":
        talk(context.wrap_socket(accepted, server_side=True), True)
    else:
        talk(accepted, False)
except (OSError, ssl.SSLError) as error:
    heard["error"] = str(error)
print(json.dumps(heard), flush=True)
