"""Clients in Python, as their own documentation uses them, against one DICOMweb root.

    python clients.py ROOT WADO_URI FOLDER

The study is that of viewer_files.py; FOLDER is for what is downloaded. The last line is a report in JSON: by client,
what it got. `slicer` does what 3D Slicer's DICOMweb import does, with the library that it does it with
(DICOMLib.DICOMUtils.importFromDICOMWeb): it lists the series of a study, counts the instances of each by its metadata,
and saves the instances while a series arrives or, without bulk retrieval, one by one.
"""

import json
import sys
import warnings
from pathlib import Path

import highdicom
import numpy as np
import requests
from dicomtrolley.qido_rs import HierarchicalQuery, QidoRS
from dicomtrolley.trolley import Trolley
from dicomtrolley.wado_rs import WadoRS
from dicomtrolley.wado_uri import WadoURI
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from wsidicom import WsiDicom, WsiDicomWebClient

warnings.simplefilter("ignore")
root, wado_uri, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
folder.mkdir(exist_ok=True)
report = {}
CORNERS = [(230, 120, 160), (120, 200, 120), (110, 130, 230), (230, 210, 90)]


class Client(DICOMwebClient):
    """wsidicom hands uncompressed frames to pydicom, which takes the bytearray of this client for a list."""

    def iter_instance_frames(self, *arguments, **more):
        return map(bytes, super().iter_instance_frames(*arguments, **more))


def uid(row, tag):
    return row[tag]["Value"][0]


def instances_below(place):
    return sorted(dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in place.rglob("*") if path.is_file())


def slicer(client, study, whole_series):
    found = []
    for series in client.search_for_series(study_instance_uid=study):
        series = uid(series, "0020000E")
        listed = client.retrieve_series_metadata(study_instance_uid=study, series_instance_uid=series)
        if whole_series:
            got = client.iter_series(study_instance_uid=study, series_instance_uid=series)
        else:
            got = (client.retrieve_instance(study, series, uid(one, "00080018")) for one in listed)
        for at, one in enumerate(got):
            place = folder / f"slicer-{whole_series}-{series}-{at}.dcm"
            one.save_as(place)
            found.append(dcmread(place).SOPInstanceUID)
    return sorted(found)


client = Client(url=root)
study = uid(client.search_for_studies()[0], "0020000D")
everything = sorted(uid(row, "00080018") for row in client.search_for_instances(study_instance_uid=study))
report["instances"] = len(everything)
report["slicer"] = {form: slicer(client, study, form == "series") == everything for form in ("series", "instances")}

session = requests.Session()
for name, downloader in (("wado-rs", WadoRS(session, root)), ("wado-uri", WadoURI(session, wado_uri))):
    trolley = Trolley(downloader=downloader, searcher=QidoRS(session, root))
    found = trolley.find_studies(HierarchicalQuery(PatientID="KINDS"))
    place = folder / name
    trolley.download(found, place)
    report[f"dicomtrolley {name}"] = {"studies": len(found), "all": instances_below(place) == everything}

slide = [row for row in client.search_for_series(study_instance_uid=study) if uid(row, "00080060") == "SM"]
series = uid(slide[0], "0020000E")
with WsiDicom.open_web(WsiDicomWebClient(client), study, series) as opened:
    picture = np.asarray(opened.read_region((0, 0), 0, (256, 256)).convert("RGB"))
    report["wsidicom"] = {"size": [opened.size.width, opened.size.height], "levels": len(opened.levels)}
tiles = [picture[64 + 3, 64 + 3], picture[64 + 3, 192 + 3], picture[192 + 3, 64 + 3], picture[192 + 3, 192 + 3]]
report["wsidicom"]["colours"] = [tuple(map(int, tile)) for tile in tiles] == CORNERS

dataset = client.retrieve_series(study_instance_uid=study, series_instance_uid=series)[0]
image = highdicom.Image.from_dataset(dataset)
matrix = image.get_total_pixel_matrix()
report["highdicom"] = {"shape": list(matrix.shape), "equal": bool(np.array_equal(matrix, picture))}
print(json.dumps(report))
