"""Loads a manifest as Weasis does, after checking it by the rules of Weasis' schema 2.5.

    python weasis.py MANIFEST_URL VERSION FOLDER [--without-direct-files]

VERSION is 4.2, 4.5 or 4.7. Each instance is written into FOLDER under its UID. The last line is a report in JSON.
What the versions have in common: the address of an instance is `baseUrl`, then `DirectDownloadFile` or, without
one, a WADO-URI query, then `additionnalParameters`; four instances of a series are loaded at a time, three series
at a time, ends and middle of a series first; an instance is a Part 10 file. 4.2 and 4.5 do not look at `queryMode`;
with `DICOM_WEB`, 4.7 takes multipart answers only. With `--without-direct-files` the loader behaves as if no
instance had one; then it also asks for a preview of each series.
"""

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as Xml
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NAMESPACE = "{http://www.weasis.org/xsd/2.5}"
UNCOMPRESSED = "1.2.840.10008.1.2.1"
# The transfer syntaxes that 4.2 has decoders for; it replaces any other one by the uncompressed one.
DECODED_BY_4_2 = {
    f"1.2.840.10008.1.2{rest}"
    for rest in ("", ".1", ".1.99", ".2", ".5", *(f".4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)))
}
# What each sends unasked: Java's HttpURLConnection, and from 4.7 on Java's HttpClient.
ACCEPT = {
    "4.2": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
    "4.5": "text/html, image/gif, image/jpeg, */*; q=0.2",
    "4.7": None,
}
LONGEST_SECONDS = 15


def text(longest, pattern=".*"):
    return lambda value: len(value) <= longest and re.fullmatch(pattern, value, re.DOTALL) is not None


def integer(value):
    return re.fullmatch(r"[+-]?\d+", value) is not None and -(2**31) <= int(value) < 2**31


UID, LONG, SHORT, CODE = text(64, "[0-9.]*"), text(64), text(16), text(16, "[A-Z0-9 _]*")
TIME = text(13, r"(([0-1][0-9])|(2[0-3]))(([0-5][0-9])(([0-5][0-9])(.([0-9]{1,6}))?)?)?")
# The schema says a year, and a date passes for one: no zeros before a year of more than four digits.
DATE = text(64, r"-?([1-9]\d{3,}|0\d{3})")
ANY = text(1 << 20)
# By element: its children, whether it needs one, and its attributes; `!` marks those that it must have.
SCHEMA = {
    "manifest": (["arcQuery", "presentations", "selections"], False, {"uid": ANY}),
    "arcQuery": (
        ["httpTag", "Message", "Patient"],
        False,
        {
            "arcId!": ANY,
            "baseUrl!": ANY,
            "webLogin": ANY,
            "requireOnlySOPInstanceUID": text(5, "true|false|0|1"),
            "additionnalParameters": ANY,
            "overrideDicomTagsList": ANY,
            "queryMode": text(9, "DB|DICOM|DICOM_WEB"),
        },
    ),
    "Patient": (
        ["Study"],
        True,
        {
            "PatientID!": LONG,
            "PatientName!": LONG,
            "IssuerOfPatientID": LONG,
            "PatientBirthDate": DATE,
            "PatientBirthTime": TIME,
            "PatientSex": text(1, "M|F|O"),
        },
    ),
    "Study": (
        ["Series"],
        True,
        {
            "StudyInstanceUID!": UID,
            "StudyDescription": LONG,
            "StudyDate": DATE,
            "StudyTime": TIME,
            "AccessionNumber": SHORT,
            "StudyID": SHORT,
            "ReferringPhysicianName": LONG,
        },
    ),
    "Series": (
        ["Instance"],
        True,
        {
            "SeriesInstanceUID!": UID,
            "SeriesDescription": LONG,
            "SeriesNumber": integer,
            "Modality": CODE,
            "SeriesDate": DATE,
            "SeriesTime": TIME,
            "WadoTransferSyntaxUID": ANY,
            "WadoCompressionRate": integer,
            "DirectDownloadThumbnail": ANY,
        },
    ),
    "Instance": (
        [],
        False,
        {"SOPInstanceUID!": UID, "SOPClassUID": UID, "InstanceNumber": integer, "DirectDownloadFile": ANY},
    ),
}


def problems(element):
    """What the schema has against an element and everything in it."""
    name = element.tag.removeprefix(NAMESPACE)
    if element.tag == name or name not in SCHEMA:
        yield f"unknown element {element.tag}"
        return
    children, needs_one, attributes = SCHEMA[name]
    known = {key.removesuffix("!"): check for key, check in attributes.items()}
    for key in attributes:
        if key.endswith("!") and key[:-1] not in element.attrib:
            yield f"{name} without {key[:-1]}"
    for key, value in element.attrib.items():
        if key not in known:
            yield f"{name} has no {key}"
        elif not known[key](value):
            yield f"{name} {key}: {value!r}"
    if needs_one and not len(element):
        yield f"{name} is empty"
    for child in element:
        if child.tag.removeprefix(NAMESPACE) not in children:
            yield f"{child.tag} in {name}"
        yield from problems(child)


def ask(url, version):
    accept = ACCEPT[version]
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=LONGEST_SECONDS) as response:
        return response.headers, response.read()


def query(study, series, uid, arc):
    only_object = arc.get("requireOnlySOPInstanceUID", "false") == "true"
    levels = "" if only_object else f"&studyUID={study}&seriesUID={series}"
    return f"{arc['baseUrl']}?requestType=WADO{levels}&objectUID={uid}"


def address(arc, study, series, instance, version, direct):
    more = arc.get("additionnalParameters", "")
    file = instance.get("DirectDownloadFile")
    if file is not None and direct:
        return arc["baseUrl"] + file + more
    url = (
        query(study, series.get("SeriesInstanceUID"), instance.get("SOPInstanceUID"), arc)
        + "&contentType=application%2Fdicom"
    )
    syntax = series.get("WadoTransferSyntaxUID")
    if syntax:
        if version == "4.2" and syntax not in DECODED_BY_4_2:
            syntax = UNCOMPRESSED
        url += f"&transferSyntax={syntax}"
    return url + more


def order(count):
    """Ends and middle first."""
    first = [0, count - 1, (count - 1) // 2] if count > 3 else []
    return first + [at for at in range(count) if at not in first]


def part_of(headers, body):
    """The only part of a multipart answer."""
    boundary = headers.get_param("boundary")
    if headers.get_content_type() != "multipart/related" or not boundary:
        raise ValueError(f"no boundary in {headers['Content-Type']}")
    _, _, rest = body.partition(b"--" + boundary.encode() + b"\r\n")
    _, _, content = rest.partition(b"\r\n\r\n")
    return content.rpartition(b"\r\n--" + boundary.encode() + b"--")[0]


def sop_instance_uid(file):
    """What the file meta information says; it is Explicit VR Little Endian in every file."""
    if file[128:132] != b"DICM":
        raise ValueError(f"no Part 10 file but {file[:16]!r}")
    at = 132
    while file[at : at + 2] == b"\x02\x00":
        element, vr = int.from_bytes(file[at + 2 : at + 4], "little"), file[at + 4 : at + 6]
        if vr in (b"OB", b"UN"):
            length, at = int.from_bytes(file[at + 8 : at + 12], "little"), at + 12
        else:
            length, at = int.from_bytes(file[at + 6 : at + 8], "little"), at + 8
        if element == 3:
            return file[at : at + length].decode().rstrip("\0 ")
        at += length
    raise ValueError("it does not say which instance it is")


def main():
    manifest, version, folder = sys.argv[1:4]
    direct = "--without-direct-files" not in sys.argv
    report = {
        "problems": [],
        "series": 0,
        "instances": 0,
        "loaded": 0,
        "multipart": False,
        "addresses": [],
        "failed": [],
    }
    previews = []
    root = Xml.fromstring(ask(manifest, version)[1])
    report["problems"] = list(problems(root))[:20]
    series_of_all = []
    for arc in root.iter(NAMESPACE + "arcQuery"):
        is_multipart = version == "4.7" and arc.get("queryMode") == "DICOM_WEB"
        report["multipart"] |= is_multipart
        for study in arc.iter(NAMESPACE + "Study"):
            for series in study.iter(NAMESPACE + "Series"):
                series_of_all.append((arc.attrib, study.get("StudyInstanceUID"), series, is_multipart))

    def load(job):
        arc, study, series, instance, is_multipart = job
        url = address(arc, study, series, instance, version, direct)
        uid = instance.get("SOPInstanceUID")
        try:
            headers, body = ask(url, version)
            file = part_of(headers, body) if is_multipart else body
            if sop_instance_uid(file) != uid:
                raise ValueError(f"it is {sop_instance_uid(file)}")
            (Path(folder) / uid).write_bytes(file)
            return url, None
        except (ValueError, OSError) as wrong:
            return url, f"{url}: {wrong}"

    def load_series(job):
        arc, study, series, is_multipart = job
        instances = [child for child in series if child.tag == NAMESPACE + "Instance"]
        if not direct:
            preview(arc, study, series, instances[len(instances) // 2])
        with ThreadPoolExecutor(4) as four:
            jobs = [(arc, study, series, instances[at], is_multipart) for at in order(len(instances))]
            return list(four.map(load, jobs))

    def preview(arc, study, series, instance):
        url = query(study, series.get("SeriesInstanceUID"), instance.get("SOPInstanceUID"), arc)
        url += "&contentType=image/jpeg&imageQuality=70&rows=256&columns=256"
        try:
            picture = ask(url, version)[1]
            if picture.startswith(b"\xff\xd8\xff"):
                previews.append(url)
            else:
                report["failed"].append(f"{url}: no JPEG")
        except OSError as wrong:
            report["failed"].append(f"{url}: {wrong}")

    with ThreadPoolExecutor(3) as three:
        for outcomes in three.map(load_series, series_of_all):
            report["series"] += 1
            report["addresses"].append(outcomes[0][0])
            for _, wrong in outcomes:
                report["instances"] += 1
                if wrong:
                    report["failed"].append(wrong)
                else:
                    report["loaded"] += 1
    report["previews"] = len(previews)
    print(json.dumps(report))


main()
