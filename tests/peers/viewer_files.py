"""Writes a study with one series of each kind that a viewer opens in a way of its own.

    python viewer_files.py FOLDER [VIDEO.mp4]

The series: a PDF document, a cine of 12 coloured frames, a whole-slide image of 2 x 2 tiles, the video if there is one. The files are
in FOLDER/files, the manifest is FOLDER/manifest.json. The last line is a report in JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

STUDY = "2.25.81.1"
LOCATION = "1.3.6.1.4.1.99999.1.10"
H264 = "1.2.840.10008.1.2.4.102"
PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
CINE_CLASS = "1.2.840.10008.5.1.4.1.1.3.1"
SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
VIDEO_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.4.1"
FRAMES, SIDE = 12, 128


def instance(number, sop_class, modality, description, transfer_syntax=ExplicitVRLittleEndian):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"{STUDY}.{number}.1"
    meta.TransferSyntaxUID = transfer_syntax
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, f"{STUDY}.{number}"
    made.PatientID, made.PatientName, made.PatientBirthDate, made.PatientSex = "KINDS", "Kinds^All", "19700101", "O"
    made.StudyDate, made.StudyTime, made.StudyID, made.AccessionNumber = "20260115", "103000", "1", "A1"
    made.SeriesNumber, made.InstanceNumber, made.Modality, made.SeriesDescription = number, 1, modality, description
    made.ContentDate, made.ContentTime = made.StudyDate, made.StudyTime
    return made


def colour(made, frames, rows, columns):
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.NumberOfFrames, made.Rows, made.Columns = frames, rows, columns
    made.LossyImageCompression, made.BurnedInAnnotation = "00", "NO"
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]


def pdf():
    stream = b"BT /F1 36 Tf 72 700 Td (A document of the study) Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(out),
    )
    made = instance(1, PDF_CLASS, "DOC", "A document")
    made.ConversionType, made.BurnedInAnnotation, made.DocumentTitle = "WSD", "NO", "A document"
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(out)
    made.EncapsulatedDocument = out + b"\0" * (len(out) % 2)
    return made


def cine():
    """A bright square moves to the right over a background that tells the frames apart."""
    pixels = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
    for frame in range(FRAMES):
        pixels[frame, :, :, 2] = np.arange(SIDE)[None, :] // 2 + frame * 10
        pixels[frame, 48:80, 8 * frame : 8 * frame + 32] = (255, 160, 0)
    made = instance(2, CINE_CLASS, "US", "A cine")
    colour(made, FRAMES, SIDE, SIDE)
    made.FrameTime, made.CineRate, made.FrameIncrementPointer = "80", 12, 0x00181063
    made.PixelData = pixels.tobytes()
    return made


def slide():
    """Two by two tiles of one optical path and one focal plane, each with its own colour."""
    tiles = np.zeros((4, SIDE, SIDE, 3), np.uint8)
    for tile, base in enumerate([(230, 120, 160), (120, 200, 120), (110, 130, 230), (230, 210, 90)]):
        tiles[tile] = base
        tiles[tile, ::16, :] //= 2
        tiles[tile, :, ::16] //= 2
    made = instance(3, SLIDE_CLASS, "SM", "A slide")
    colour(made, 4, SIDE, SIDE)
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    made.TotalPixelMatrixColumns = made.TotalPixelMatrixRows = 2 * SIDE
    made.TotalPixelMatrixFocalPlanes, made.NumberOfOpticalPaths = 1, 1
    made.DimensionOrganizationType = "TILED_FULL"
    made.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    made.ImagedVolumeWidth = made.ImagedVolumeHeight = 2 * SIDE * 0.01
    made.ImagedVolumeDepth, made.FrameOfReferenceUID, made.ContainerIdentifier = 1.0, f"{STUDY}.9", "SLIDE-1"
    made.SpecimenLabelInImage, made.FocusMethod, made.ExtendedDepthOfField = "NO", "AUTO", "NO"
    made.VolumetricProperties, made.AcquisitionDateTime = "VOLUME", "20260115103000"
    origin, measures, shared, path, frame_type = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 10.0, 10.0
    measures.PixelSpacing, measures.SliceThickness = [0.01, 0.01], 0.001
    frame_type.FrameType = made.ImageType
    path.OpticalPathIdentifier = "1"
    identification = Dataset()
    identification.OpticalPathIdentifier = "1"
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.WholeSlideMicroscopyImageFrameTypeSequence = Sequence([frame_type])
    shared.OpticalPathIdentificationSequence = Sequence([identification])
    illumination, colour_code = Dataset(), Dataset()
    illumination.CodeValue, illumination.CodingSchemeDesignator = "111744", "DCM"
    illumination.CodeMeaning = "Brightfield illumination"
    colour_code.CodeValue, colour_code.CodingSchemeDesignator, colour_code.CodeMeaning = (
        "414298005",
        "SCT",
        "Full Spectrum",
    )
    path.IlluminationTypeCodeSequence = Sequence([illumination])
    path.IlluminationColorCodeSequence = Sequence([colour_code])
    made.TotalPixelMatrixOriginSequence = Sequence([origin])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    made.OpticalPathSequence = Sequence([path])
    made.PixelData = tiles.tobytes()
    return made


def video(content):
    made = instance(4, VIDEO_CLASS, "XC", "A video", H264)
    colour(made, 50, 240, 320)
    made.PhotometricInterpretation, made.FrameTime, made.CineRate = "YBR_PARTIAL_420", "40", 25
    made.FrameIncrementPointer = 0x00181063
    made.PixelData = encapsulate([content + b"\0" * (len(content) % 2)], has_bot=False)
    made["PixelData"].VR = "OB"
    return made


def manifest(made):
    endpoint = {"resourceType": "Endpoint", "status": "active", "connectionType": {"code": "dicom-wado-rs"}}
    endpoint |= {"payloadType": [{"text": "DICOM"}], "address": "http://files.example/rs"}
    series = [
        {
            "uid": one.SeriesInstanceUID,
            "number": int(one.SeriesNumber),
            "description": one.SeriesDescription,
            "modality": {"code": one.Modality},
            "endpoint": [{"reference": "urn:uuid:endpoint"}],
            "instance": [{"uid": one.SOPInstanceUID, "sopClass": {"code": f"urn:oid:{one.SOPClassUID}"}}],
        }
        for one in made
    ]
    study = {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": "urn:uuid:patient"}}
    study |= {"identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}], "series": series}
    patient = {
        "resourceType": "Patient",
        "identifier": [{"value": "KINDS"}],
        "name": [{"family": "Kinds", "given": ["All"]}],
    }
    resources = {"study": study, "endpoint": endpoint, "patient": patient}
    entries = [{"fullUrl": f"urn:uuid:{name}", "resource": resource} for name, resource in resources.items()]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


folder = Path(sys.argv[1])
(folder / "files").mkdir(parents=True)
every = [pdf(), cine(), slide(), *(video(Path(name).read_bytes()) for name in sys.argv[2:])]
for one in every:
    one.save_as(folder / "files" / f"{one.SOPInstanceUID}.dcm", enforce_file_format=True)
(folder / "manifest.json").write_text(json.dumps(manifest(every)))
print(json.dumps({"study": STUDY, "series": len(every)}))
