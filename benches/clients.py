"""The clients of `noded`: processes that end with a result, and crowds that only take up room."""

import json
import socket
import ssl
import threading


class Job:
    """A client process; its last line is its result, whatever its exit status."""

    def __init__(self, running, popen):
        self.running, self.popen = running, popen
        running.append(self)

    def result(self):
        out, _ = self.popen.communicate(timeout=600)
        self.running.remove(self)
        if not out.strip():
            raise SystemExit(f"no result: {self.popen.args}")
        return json.loads(out.splitlines()[-1])

    def stop(self):
        self.popen.kill()
        self.popen.wait()


class Crowd:
    """Threads that connect, do `work` until they are cut, and connect again."""

    def __init__(self, running, size, port, source, work):
        self.address, self.source, self.work = ("127.0.0.1", port), (source, 0), work
        self.over, self.open, self.cut, self.running = threading.Event(), {}, 0, running
        self.threads = [threading.Thread(target=self.loop, args=(i,), daemon=True) for i in range(size)]
        running.append(self)
        for thread in self.threads:
            thread.start()

    def loop(self, i):
        while not self.over.is_set():
            try:
                with socket.create_connection(self.address, 10, self.source) as s:
                    self.work(self, i, s)
            except OSError:
                self.over.wait(0.1)
            self.cut += not self.over.is_set()

    def idle(self, i, s):
        s.settimeout(None)
        self.open[i] = s
        s.recv(1)

    def stop(self):
        self.over.set()
        for s in list(self.open.values()):
            try:
                socket.socket.shutdown(s, socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(11)
        self.running.remove(self)


def slow_header(pem):
    """TLS with a candidate's certificate, then a header that grows by a byte a second."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(pem)

    def work(crowd, i, s):
        with context.wrap_socket(s, do_handshake_on_connect=False) as tls:
            crowd.open[i] = tls
            tls.do_handshake()
            for byte in b"POST /version HTTP/1.1\r\nX-Slow: " + b"x" * 3600:
                tls.send(bytes([byte]))
                if crowd.over.wait(1):
                    return
    return work
