"""Asks the gateway and an Orthanc that holds the same files the same questions.

    python orthanc.py FOLDER ROOTS.json ORTHANC

FOLDER is that of prepare.py; ROOTS.json lists a DICOMweb root for each of its files; ORTHANC is the
address of an empty Orthanc with its DICOMweb plugin. The last line is a report in JSON.

Where the answers differ, DIFFERENCES says whose way is the standard's. What is not among these is a
difference that nobody has thought about.
"""

import json
import math
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

sys.dont_write_bytecode = True
from gateway import parts

# What is known to differ, and why it stays like that.
DIFFERENCES = {
    "orthanc refuses the file": "it does not take what it cannot index; the gateway gives what there is",
    "orthanc: 400 or 500": "it makes no metadata or frames of the file; here they are given",
    "bulk data or inline": "thresholds differ; both are permitted (PS3.18 F.2.6)",
    "compressed pixel data": "Orthanc tells no link to it; here it resolves",
    "number form": "the same numbers, written as text by one and as numbers by the other (F.2.3.1)",
    "text": "character sets and code extensions (ISO 2022) that Orthanc does not know; pydicom agrees with us",
    "vr": "UN of undefined length is a sequence (PS3.5 6.2.2 note 2)",
    "binary": "padding, and numbers that Orthanc does not turn round",
    "sequence": "a sequence that was written as UN",
    "small numbers": "floating-point numbers next to 0, which Orthanc gives as 0",
    "blanks around numbers": "Orthanc gives no values where one of them has blanks or is none",
    "palette descriptors": "Orthanc leaves them out",
    "unknown": "elements that were written as UN, which Orthanc leaves out",
    "one study more than once": "Orthanc has a study once for each Patient ID in its files; a manifest has one",
    "unknown by the file": "written as UN, which Orthanc looks up in its dictionary (PS3.5 6.2.2 permits both)",
}
AS_STORED = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
report = {"files": 0, "elements": 0, "equal": 0, "frames": 0, "searches": 0, "known": {}, "differences": [], "not_compared": []}
known = Counter()


def ask(url, accept, data=None):
    request = urllib.request.Request(url, data=data, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def note(kind, name, what):
    if kind in DIFFERENCES:
        known[kind] += 1
    else:
        report["differences"].append(f"{name}: {kind}: {what}"[:240])


def blank(value):
    if isinstance(value, dict):
        return not any(str(text).strip(" ^=") for text in value.values())
    return value is None or (isinstance(value, str) and not value.strip(" \0"))


def plain(value):
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value.strip(" \0")
    if isinstance(value, dict):
        return {key: text.rstrip(" ^=") for key, text in value.items() if text.strip(" ^=")}
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def same(ours, theirs):
    ours, theirs = plain(ours), plain(theirs)
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-5) or (math.isnan(ours) and math.isnan(theirs))
    return ours == theirs


def element(name, tag, ours, theirs):
    report["elements"] += 1
    if ours == theirs:
        report["equal"] += 1
        return
    if "BulkDataURI" in ours or "BulkDataURI" in theirs:
        return note("bulk data or inline", name, tag)
    if "InlineBinary" in ours and "InlineBinary" in theirs:
        return note("binary", name, tag)
    if ours.get("vr") != theirs.get("vr"):
        if ours.get("vr") == "UN":
            return note("unknown by the file", name, tag)
        return note("vr" if ours.get("vr") == "SQ" else "another vr", name, f"{tag} {ours.get('vr')} {theirs.get('vr')}")
    mine, its = ours.get("Value", []), theirs.get("Value", [])
    if all(map(blank, mine)) and all(map(blank, its)):
        return
    if ours["vr"] == "SQ":
        return sequence(name, tag, mine, its)
    if len(mine) == len(its) and all(same(x, y) or (blank(x) and blank(y)) for x, y in zip(mine, its)):
        return note("number form", name, tag)
    if ours["vr"] in {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "CS", "AE"}:
        return note("text", name, f"{tag} {mine} {its}")
    if its == [0] and len(mine) == 1 and isinstance(mine[0], float) and abs(mine[0]) < 1e-20:
        return note("small numbers", name, tag)
    if not its and ours["vr"] in {"DS", "IS"}:
        return note("blanks around numbers", name, tag)
    note("value", name, f"{tag} {mine} {its}")


def sequence(name, tag, ours, theirs):
    if len(ours) != len(theirs):
        return note("sequence", name, tag)
    for mine, its in zip(ours, theirs):
        dataset(name, mine or {}, its or {})


def dataset(name, ours, theirs):
    for tag in sorted(ours.keys() | theirs.keys()):
        # The gateway adds Available Transfer Syntax UID.
        if tag in {"00080005", "00083002"}:
            continue
        if tag in ours and tag in theirs:
            element(name, tag, ours[tag], theirs[tag])
        elif tag in ours and tag == "7FE00010":
            note("compressed pixel data", name, tag)
        elif tag in ours and tag in {"00281101", "00281102", "00281103"}:
            note("palette descriptors", name, tag)
        elif tag in ours and ours[tag]["vr"] == "UN":
            note("unknown", name, tag)
        else:
            note("missing here" if tag in theirs else "missing in Orthanc", name, f"{tag} {ours.get(tag, theirs.get(tag))}")


def frames(name, ours, theirs):
    mine = ask(f"{ours}/frames/1", AS_STORED)
    its = ask(f"{theirs}/frames/1", AS_STORED)
    if mine[0] != 200 and its[0] != 200:
        return
    if its[0] != 200:
        return note("orthanc: 400 or 500", name, its[0])
    if mine[0] != 200:
        kind = f"frames: ours {mine[0]}"
        return note(kind, name, mine[2][:80])
    report["frames"] += 1
    (_, mine), (_, its) = next(parts(*mine[1:])), next(parts(*its[1:]))
    if mine.rstrip(b"\0") != its.rstrip(b"\0"):
        note("frame bytes", name, f"{len(mine)} {len(its)}")


def search(name, root, orthanc, study):
    query = f"studies?StudyInstanceUID={study}"
    mine = ask(f"{root}/{query}", "application/dicom+json")
    its = ask(f"{orthanc}/dicom-web/{query}", "application/dicom+json")
    mine, its = json.loads(mine[2]), json.loads(its[2])
    if len(mine) == 1 and len(its) > 1:
        return note("one study more than once", name, study)
    if len(mine) != 1 or len(its) != 1:
        return note("search", name, f"{len(mine)} {len(its)}")
    report["searches"] += 1
    # PS3.18 table 10.6.3-3: what has to be there, whatever is known of it.
    for tag in ("0020000D", "00081190", "00100010", "00100020", "00080020", "00080030", "00080050", "00201206", "00201208"):
        if tag not in mine[0]:
            note("search: missing here", name, tag)


folder = Path(sys.argv[1])
orthanc = sys.argv[3]
index = json.loads((folder / "index.json").read_text())
roots = json.loads(Path(sys.argv[2]).read_text())
for entry, root in zip(index, roots):
    name = entry["name"]
    if root is None:
        continue
    status, _, _ = ask(f"{orthanc}/instances", "*/*", (folder / entry["file"]).read_bytes())
    if status != 200:
        note("orthanc refuses the file", name, status)
        continue
    ours, theirs = f"{root}/{entry['path']}", f"{orthanc}/dicom-web/{entry['path']}"
    mine = ask(f"{ours}/metadata", "application/dicom+json")
    its = ask(f"{theirs}/metadata", "application/dicom+json")
    if its[0] != 200:
        note("orthanc: 400 or 500", name, its[0])
    elif mine[0] != 200:
        report["not_compared"].append(f"{name}: metadata: {mine[0]}")
        continue
    else:
        report["files"] += 1
        dataset(name, json.loads(mine[2])[0], json.loads(its[2])[0])
    frames(name, ours, theirs)
    search(name, root, orthanc, entry["path"].split("/")[1])
report["known"] = dict(known)
print(json.dumps(report))
