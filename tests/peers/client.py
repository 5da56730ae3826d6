"""Every call of dicomweb-client that asks for something, against one DICOMweb root.

    python client.py ROOT

The last line is a report in JSON: what each call gave.
"""

import json
import sys
import warnings
from io import BytesIO

import numpy as np
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import dcmread

warnings.simplefilter("ignore")
client = DICOMwebClient(url=sys.argv[1])
report = {}


def size(picture):
    return list(Image.open(BytesIO(picture)).size)


def uid(row, tag):
    return row[tag]["Value"][0]


studies = client.search_for_studies()
study = uid(studies[0], "0020000D")
patient = studies[0]["00100020"]["Value"][0]
report["search_for_studies"] = {
    "all": len(studies),
    "by patient": len(client.search_for_studies(search_filters={"PatientID": patient})),
    "by another": len(client.search_for_studies(search_filters={"PatientID": "nobody"})),
    "fuzzy": len(client.search_for_studies(fuzzymatching=True, search_filters={"StudyInstanceUID": study})),
    "fields": len(client.search_for_studies(fields=["PatientID", "00081030"])),
}
series = client.search_for_series(study_instance_uid=study)
report["search_for_series"] = {
    "of the study": len(series),
    "of all": len(client.search_for_series()),
    "CT": len(client.search_for_series(search_filters={"Modality": "CT"})),
    "get_remaining": len(client.search_for_series(limit=1, get_remaining=True)),
}
images = next(uid(row, "0020000E") for row in series if uid(row, "00080060") == "CT")
instances = client.search_for_instances(study, images)
report["search_for_instances"] = {
    "of the series": len(instances),
    "of the study": len(client.search_for_instances(study)),
    "of all": len(client.search_for_instances()),
    "limit and offset": len(client.search_for_instances(study, limit=7, offset=15)),
    "get_remaining": len(client.search_for_instances(study, limit=4, get_remaining=True)),
    "counted": uid(next(row for row in series if uid(row, "0020000E") == images), "00201209"),
}
instance = uid(instances[0], "00080018")
stored = [("application/dicom", "*")]
one = client.retrieve_instance(study, images, instance, media_types=stored)
report["retrieve_study"] = len(client.retrieve_study(study, media_types=stored))
report["iter_study"] = len(list(client.iter_study(study, media_types=stored)))
report["retrieve_series"] = len(client.retrieve_series(study, images, media_types=stored))
report["iter_series"] = len(list(client.iter_series(study, images)))
report["retrieve_instance"] = one.SOPInstanceUID == instance
explicit = [("application/dicom", "1.2.840.10008.1.2.1")]
decoded = client.retrieve_instance(study, images, instance, media_types=explicit)
report["retrieve_instance, decoded"] = decoded.file_meta.TransferSyntaxUID == explicit[0][1]
same = np.array_equal(one.pixel_array, decoded.pixel_array)
report["the same pixels"] = bool(same)
report["retrieve_study_metadata"] = len(client.retrieve_study_metadata(study))
report["retrieve_series_metadata"] = len(client.retrieve_series_metadata(study, images))
metadata = client.retrieve_instance_metadata(study, images, instance)
report["retrieve_instance_metadata"] = uid(metadata, "00080018") == instance
octets = [("application/octet-stream", "*")]
samples = [("application/octet-stream", "1.2.840.10008.1.2.1")]
frames = client.retrieve_instance_frames(study, images, instance, [1], media_types=samples)
report["retrieve_instance_frames"] = frames[0] == decoded.PixelData
report["iter_instance_frames"] = len(list(client.iter_instance_frames(study, images, instance, [1], media_types=octets)))
shape = [decoded.Columns, decoded.Rows]
jpeg, png = ("image/jpeg",), ("image/png",)
report["retrieve_instance_rendered"] = size(client.retrieve_instance_rendered(study, images, instance, media_types=png)) == shape
small = client.retrieve_instance_rendered(
    study, images, instance, media_types=jpeg, params={"viewport": "64,64", "window": "40,400,linear", "quality": 50}
)
report["retrieve_instance_rendered, with parameters"] = max(size(small))
whole = client.retrieve_series_rendered(study, images, media_types=jpeg)
report["retrieve_series_rendered"] = len(whole) > 0
report["retrieve_instance_frames_rendered"] = (
    size(client.retrieve_instance_frames_rendered(study, images, instance, [1], media_types=png)) == shape
)
bulk = metadata["7FE00010"]["BulkDataURI"]
report["retrieve_bulkdata"] = len(client.retrieve_bulkdata(bulk)[0]) > 0
report["iter_bulkdata"] = len(list(client.iter_bulkdata(bulk)))
report["a file"] = dcmread(BytesIO(client._http_get(
    f"{sys.argv[1]}/studies/{study}/series/{images}/instances/{instance}", headers={"Accept": "application/dicom; transfer-syntax=*"}
).content)).SOPInstanceUID == instance
print(json.dumps(report))
