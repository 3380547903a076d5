"""moto's S3 server for tests: `s3.py PORT`, on loopback.

moto looks whether an object exists and then writes it, in two steps and many threads. A store does both in one step for
a request that may only create (`If-None-Match`), so here such requests take turns.
"""

import io
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple


class OneCreateAtATime:
    """The application, with requests that may only create one after another."""

    def __init__(self, app):
        self.app = app
        self.turn = threading.Lock()

    def __call__(self, environ, start_response):
        if "HTTP_IF_NONE_MATCH" not in environ:
            return self.app(environ, start_response)
        # The body is read before, so that a slow one holds nobody up.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with self.turn:
            return self.app(environ, start_response)


if __name__ == "__main__":
    app = OneCreateAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=MotoRequestHandler)
