"""Compares the gateway's metadata with what dcmtk's dcm2json says of the same files.

    python dcm2json.py FOLDER ROOTS.json

FOLDER is that of prepare.py; ROOTS.json lists a DICOMweb root for each of its files. The last line
is a report in JSON.
"""

import base64
import json
import math
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from pydicom import config, dcmread

sys.dont_write_bytecode = True
from gateway import get

warnings.simplefilter("ignore")
config.settings.reading_validation_mode = config.IGNORE
report = {"files": 0, "elements": 0, "differences": [], "not_compared": []}


def differ(name, what, ours, theirs):
    report["differences"].append(f"{name}: {what}: {str(ours)[:120]!r} is not {str(theirs)[:120]!r}")


def dcm2json(path):
    """What dcm2json says, or why it says nothing."""
    with tempfile.NamedTemporaryFile(suffix=".dcm") as copy:
        source = path
        try:
            ds = dcmread(path)
            if ds.file_meta.TransferSyntaxUID.is_encapsulated and "PixelData" in ds:
                # It refuses compressed pixels; here it is asked for the rest.
                del ds.PixelData
                ds.save_as(copy.name)
                source = copy.name
        except Exception as error:
            return None, f"pydicom: {type(error).__name__}"
        done = subprocess.run(
            ["dcm2json", "--quiet", "--compact-code", "--encode-extended", str(source)],
            capture_output=True,
        )
    if done.returncode:
        return None, done.stderr.decode(errors="replace").strip()[:100]
    try:
        return json.loads(done.stdout), ""
    except ValueError as error:
        return None, f"what it writes is no JSON: {error}"


def one(value):
    """A value as it can be compared."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value.strip(" \0")
    if isinstance(value, dict):
        # Components that are empty are left out by the one and kept by the other.
        return {group: name.rstrip(" ^=") for group, name in value.items() if name.strip(" ^=")}
    return float(value) if isinstance(value, (int, float)) else value


def empty(value):
    return one(value) in (None, "", {})


def same(ours, theirs, vr):
    ours, theirs = one(ours), one(theirs)
    if vr == "FL" and isinstance(ours, float) and isinstance(theirs, float):
        # Written with as many digits as tell it from its neighbours, and with more.
        return ours == theirs or struct.pack("<f", ours) == struct.pack("<f", theirs)
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-6) or (math.isnan(ours) and math.isnan(theirs))
    return ours == theirs or (empty(ours) and empty(theirs))


def element(name, where, ours, theirs):
    report["elements"] += 1
    if "InlineBinary" in theirs:
        data = base64.b64decode(theirs["InlineBinary"])
        if "BulkDataURI" in ours:
            status, _, mine = get(ours["BulkDataURI"], "application/octet-stream")
        else:
            status, mine = 200, base64.b64decode(ours.get("InlineBinary", ""))
        if ours.get("vr") == "SQ":
            # It was written as UN, and is read as what PS3.5 6.2.2 says that it is.
            return
        # Lengths that are odd are made even there.
        if status != 200 or mine.rstrip(b"\0") != data.rstrip(b"\0"):
            differ(name, where, f"{status} {mine[:20]}", data[:20])
        return
    if ours["vr"] == "UN" and theirs["vr"] != "UN":
        # It looks into its dictionary for what the file says to be unknown.
        return
    if ours["vr"] != theirs["vr"]:
        return differ(name, f"{where} vr", ours["vr"], theirs["vr"])
    mine, its = ours.get("Value", []), theirs.get("Value", [])
    if ours["vr"] == "SQ":
        if len(mine) != len(its):
            return differ(name, f"{where} items", len(mine), len(its))
        for at, (item, other) in enumerate(zip(mine, its)):
            dataset(name, f"{where}[{at}]", item or {}, other or {})
        return
    if all(map(empty, mine)) and all(map(empty, its)):
        return
    if len(mine) != len(its) or not all(same(x, y, ours["vr"]) for x, y in zip(mine, its)):
        differ(name, where, mine, its)


def dataset(name, where, ours, theirs):
    ours = {tag: value for tag, value in ours.items() if tag not in ("7FE00010", "00080005")}
    theirs = {tag: value for tag, value in theirs.items() if tag not in ("7FE00010", "00080005")}
    for tag in sorted(ours.keys() ^ theirs.keys()):
        differ(name, f"{where} {tag}", ours.get(tag, "missing"), theirs.get(tag, "missing"))
    for tag in sorted(ours.keys() & theirs.keys()):
        element(name, f"{where} {tag}", ours[tag], theirs[tag])


folder = Path(sys.argv[1])
index = json.loads((folder / "index.json").read_text())
roots = json.loads(Path(sys.argv[2]).read_text())
for entry, root in zip(index, roots):
    if root is None:
        continue
    theirs, why = dcm2json(folder / entry["file"])
    if theirs is None:
        report["not_compared"].append(f"{entry['name']}: {why}")
        continue
    status, _, body = get(f"{root}/{entry['path']}/metadata", "application/dicom+json")
    if status != 200:
        report["not_compared"].append(f"{entry['name']}: {status}")
        continue
    ours = json.loads(body)[0]
    # The gateway adds Available Transfer Syntax UID.
    ours.pop("00083002", None)
    dataset(entry["name"], "", ours, theirs)
    report["files"] += 1
print(json.dumps(report))
