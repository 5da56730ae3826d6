"""Requests to a DICOMweb server, and the parts of its answers, for the scripts beside this one."""

import urllib.error
import urllib.request


def get(url, accept):
    """The status, the header fields and the body of an answer, whatever its status."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def parts(headers, body):
    """The head and the bytes of each part."""
    boundary = headers["content-type"].split("boundary=")[1].split(";")[0].strip('"').encode()
    for piece in body.split(b"--" + boundary)[1:-1]:
        head, _, data = piece.partition(b"\r\n\r\n")
        yield head.decode(), data[:-2]
