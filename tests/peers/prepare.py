"""Gathers real DICOM files from installed packages, for tests.

    python prepare.py FOLDER

Writes FOLDER/files/*.dcm, one FHIR manifest for each beside them in FOLDER/manifests, and
FOLDER/index.json. What a manifest needs and a file lacks (UIDs, file meta information) is added.
"""

import json
import sys
import warnings
from pathlib import Path

import pydicom
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

warnings.simplefilter("ignore")
LOCATION = "1.3.6.1.4.1.99999.1.10"
IDENTIFYING = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
# Written to be broken in ways that pydicom itself cannot compare, or not images and data sets at all.
LEFT_OUT = {"DICOMDIR", "no_meta.dcm"}


def folders():
    data = Path(pydicom.__file__).parent / "data"
    yield data / "test_files"
    yield data / "charset_files"
    yield data / "palettes"
    try:
        import data_store  # pydicom-data

        yield Path(data_store.__file__).parent / "data"
    except ImportError:
        pass


def manifest(study, series, instance, sop_class):
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {
                "fullUrl": "urn:uuid:study",
                "resource": {
                    "resourceType": "ImagingStudy",
                    "status": "available",
                    "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study}"}],
                    "subject": {"reference": "urn:uuid:patient"},
                    "series": [
                        {
                            "uid": series,
                            "modality": {"code": "OT"},
                            "endpoint": [{"reference": "urn:uuid:endpoint"}],
                            "instance": [
                                {"uid": instance, "sopClass": {"code": f"urn:oid:{sop_class}"}}
                            ],
                        }
                    ],
                },
            },
            {
                "fullUrl": "urn:uuid:endpoint",
                "resource": {
                    "resourceType": "Endpoint",
                    "status": "active",
                    "connectionType": {"code": "dicom-wado-rs"},
                    "payloadType": [{"text": "DICOM"}],
                    "address": "http://files.example/rs",
                },
            },
            {
                "fullUrl": "urn:uuid:patient",
                "resource": {"resourceType": "Patient", "identifier": [{"value": "P"}]},
            },
        ],
    }


def usable(path, seen):
    """The file's bytes, changed only where it could not be asked for otherwise."""
    ds = dcmread(path, force=True)
    if not len(ds) or "DirectoryRecordSequence" in ds:
        return None
    meta = getattr(ds, "file_meta", None)
    has_head = path.read_bytes()[128:132] == b"DICM"
    whole = has_head and meta is not None and "TransferSyntaxUID" in meta
    # The same instance in many transfer syntaxes becomes many instances.
    is_new = ds.get("SOPInstanceUID") not in seen
    if is_new and whole and all(ds.get(name) for name in IDENTIFYING):
        return path.read_bytes(), ds
    if not whole:
        ds.ensure_file_meta()
        implicit = ds.original_encoding[0]
        ds.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
        ds.preamble = b"\0" * 128
    for name in IDENTIFYING:
        if not ds.get(name):
            uid = "1.2.840.10008.5.1.4.1.1.7" if name == "SOPClassUID" else generate_uid()
            setattr(ds, name, uid)
    if not is_new:
        ds.SOPInstanceUID = generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    from io import BytesIO

    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue(), ds


def main(out):
    (out / "files").mkdir(parents=True)
    (out / "manifests").mkdir()
    index, seen, unusable = [], set(), []
    for folder in folders():
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.name in LEFT_OUT or path.suffix in {".py", ".json", ".md"}:
                continue
            try:
                found = usable(path, seen)
            except Exception as error:  # not DICOM, or broken beyond saving
                unusable.append(f"{path.name}: {type(error).__name__}")
                continue
            if found is None:
                unusable.append(f"{path.name}: no instance")
                continue
            data, ds = found
            uids = [str(ds[name].value) for name in IDENTIFYING]
            if uids[2] in seen or any(len(uid) > 64 for uid in uids):
                continue
            seen.add(uids[2])
            name = f"{len(index):03}"
            (out / "files" / f"{name}.dcm").write_bytes(data)
            (out / "manifests" / f"{name}.json").write_text(json.dumps(manifest(*uids)))
            index.append(
                {
                    "name": path.name,
                    "file": f"files/{name}.dcm",
                    "manifest": f"manifests/{name}.json",
                    "path": f"studies/{uids[0]}/series/{uids[1]}/instances/{uids[2]}",
                    "syntax": str(ds.file_meta.TransferSyntaxUID),
                }
            )
    (out / "index.json").write_text(json.dumps(index))
    print(json.dumps({"files": len(index), "unusable": unusable}))


main(Path(sys.argv[1]))
