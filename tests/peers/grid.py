"""Many small compressed images, each decoded by the gateway and by other decoders.

    python grid.py make FOLDER          writes FOLDER/files/*.dcm, FOLDER/manifest.json, FOLDER/index.json
    python grid.py compare FOLDER ROOT  asks the gateway at the DICOMweb root ROOT

The last line is a report in JSON. What was encoded without loss must come back; of the rest, the
decoders must agree.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import cycle, product
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset, config, dcmread, pixels
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

sys.dont_write_bytecode = True
from encoders import EVEN_CODES, LONG_CODES, lossless_jpeg, rle
from gateway import get, parts

warnings.simplefilter("ignore")
config.settings.reading_validation_mode = config.IGNORE
LOSSLESS_SV1, LOSSLESS, RLE = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.5"
BASELINE, EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
LS, LS_NEAR, J2K, J2K_LOSSY = (f"1.2.840.10008.1.2.4.{n}" for n in (80, 81, 90, 91))
# Odd, and as small as wavelets allow.
SMALL, LARGE = (11, 13), (37, 33)
STUDY, SERIES = "2.25.81.1", "2.25.81.2"


def samples(stored, signed=False, components=1, frames=1, smooth=False, size=LARGE):
    """What the stored values mean: frames, rows, columns, components."""
    least = -(1 << (stored - 1)) if signed else 0
    count = 1 << stored
    f, y, x, c = np.indices((frames, *size, components))
    if smooth:
        wave = np.sin(x / 5 + f) + np.cos(y / 4 + c) + 2
        return (wave / 4 * (count - 1)).astype(np.int64) + least
    mixed = x * 7919 + y * y * 104729 + x * y * 31 + c * 65537 + f * 997
    # The least and the largest value are neighbours now and then.
    values = np.where(mixed % 7 == 0, 0, np.where(mixed % 7 == 1, count - 1, (mixed * 2654435761 >> 9) % count))
    return values.astype(np.int64) + least


def image(values, stored, allocated, high=None, signed=False, photometric=None, planar=0):
    """A native image of these values."""
    frames, rows, columns, components = values.shape
    high = stored - 1 if high is None else high
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, SERIES
    ds.SOPInstanceUID = "2.25.81.3.0"
    ds.PatientID, ds.PatientName, ds.Modality = "P", "P", "OT"
    ds.StudyID = ds.SeriesNumber = ds.InstanceNumber = "1"
    ds.SamplesPerPixel = components
    ds.PhotometricInterpretation = photometric or ("RGB" if components == 3 else "MONOCHROME2")
    if components > 1:
        ds.PlanarConfiguration = planar
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, stored, high
    ds.PixelRepresentation = int(signed)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        for colour in ("Red", "Green", "Blue"):
            setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(ds, f"{colour}PaletteColorLookupTableData", bytes(512))
    words = words_of(values, stored, allocated, high)
    if planar:
        words = words.transpose(0, 3, 1, 2)
    data = words.tobytes()
    ds.add_new(0x7FE00010, "OB" if allocated <= 8 else "OW", data + b"\0" * (len(data) % 2))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def words_of(values, stored, allocated, high):
    low = high + 1 - stored
    return ((values & ((1 << stored) - 1)) << low).astype(f"<u{allocated // 8}")


def meaning(words, ds):
    """The values that stored words mean (PS3.5 8.1.1)."""
    stored = ds.BitsStored
    values = words.astype(np.int64) >> max(ds.HighBit + 1 - stored, 0) & ((1 << stored) - 1)
    if ds.PixelRepresentation:
        values = np.where(values >> (stored - 1), values - (1 << stored), values)
    return values


def native(ds):
    """What a native image means: frames, rows, columns, samples."""
    frames, components = int(ds.get("NumberOfFrames") or 1), ds.SamplesPerPixel
    words = np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}")
    words = words[: frames * ds.Rows * ds.Columns * components]
    if components > 1 and ds.PlanarConfiguration:
        words = words.reshape(frames, components, ds.Rows, ds.Columns).transpose(0, 2, 3, 1)
    return meaning(words.reshape(frames, ds.Rows, ds.Columns, components), ds)


class Rows:
    """The rows of the grid: files, and what was put into them."""

    def __init__(self, folder):
        self.folder, self.index, self.jobs, self.not_made = folder, [], [], []

    def add(self, name, ds, truth, how):
        """One row; `how` encodes, in a thread of its own."""
        number = len(self.index) + 1
        uid = f"2.25.81.3.{number}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
        file = self.folder / "files" / f"{number:04}.dcm"
        row = {"name": name, "file": f"files/{file.name}", "uid": uid}
        if truth is not None:
            row["truth"] = truth.ravel().tolist()
        self.index.append(row)
        self.jobs.append((row, ds, file, how))

    def run(self):
        def make(job):
            row, ds, file, how = job
            try:
                how(ds, file)
                dcmread(file, stop_before_pixels=True)
                return row
            except Exception as error:
                file.unlink(missing_ok=True)
                self.not_made.append(f"{row['name']}: {type(error).__name__}: {str(error)[:100]}")

        with ThreadPoolExecutor(4) as pool:
            self.index = [row for row in pool.map(make, self.jobs) if row]


def run(*arguments):
    done = subprocess.run(list(map(str, arguments)), capture_output=True, timeout=30)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip()[-200:])


def tool(*command):
    """Encodes with a program."""

    def how(ds, file):
        plain = file.with_suffix(".plain")
        ds.save_as(plain, enforce_file_format=True)
        try:
            run(*command, plain, file)
        finally:
            plain.unlink()
        made = dcmread(file)
        if made.SOPInstanceUID != ds.SOPInstanceUID:
            # GDCM gives what has lost something a new name.
            made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            made.save_as(file)

    return how


def streams(syntax, frames, fragments=1, table=True):
    """Writes streams as they are."""

    def how(ds, file):
        ds.file_meta.TransferSyntaxUID = syntax
        data = encapsulate(list(frames), fragments_per_frame=fragments, has_bot=table)
        ds.add_new(0x7FE00010, "OB", data)
        ds["PixelData"].is_undefined_length = True
        ds.save_as(file, enforce_file_format=True)

    return how


def compressed(syntax, plugin, **options):
    """Encodes with pydicom."""

    def how(ds, file):
        ds.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False, **options)
        ds.save_as(file, enforce_file_format=True)

    return how


def own_lossless(rows):
    """Every precision and predictor; point transforms, restarts, components and codes take turns."""
    turns = cycle(product((1, 3), (0, 1, 3), (0, 1, 4), (True, False), (LONG_CODES, EVEN_CODES)))
    for precision, predictor, signed in product(range(2, 17), range(1, 8), (False, True)):
        components, restarts, transform, interleaved, codes = next(turns)
        if signed and components == 3:
            components = 1
        transform = min(transform, precision - 1)
        # Fragments and tables take turns too.
        fragments, table = 1 + predictor % 3, precision % 2 == 0
        frames = 1 + (precision + predictor) % 2
        allocated = 8 if precision <= 8 else 16
        values = samples(precision, signed, components, frames, size=SMALL)
        kept = values >> transform << transform
        words = words_of(values, precision, allocated, precision - 1)
        made = (
            lossless_jpeg(frame, precision, predictor, transform, restarts, interleaved, codes) for frame in words
        )
        name = f"own lossless {precision} bits predictor {predictor} {'signed' if signed else 'unsigned'}"
        name += f" {components} components transform {transform} restart {restarts} rows"
        name += f" {'interleaved' if interleaved else 'apart'} {frames} frames {fragments} fragments"
        syntax = LOSSLESS_SV1 if predictor == 1 else LOSSLESS
        ds = image(values, precision, allocated, signed=signed)
        rows.add(name, ds, kept, streams(syntax, list(made), fragments, table or fragments > 1))


# Bits stored, allocated, high bit.
DEPTHS = [(8, 8, 7), (8, 16, 7), (10, 16, 9), (12, 16, 11), (16, 16, 15)]
ODD_DEPTHS = [(6, 8, 5), (6, 8, 7), (12, 16, 15), (12, 16, 12), (14, 16, 13)]


def encoded(rows):
    """dcmtk, GDCM and pydicom, without loss."""
    gdcm = [("--jpeg",), ("--jpegls",), ("--rle",), ("--j2k",), ("--j2k", "-t", "8,8"), ("--j2k", "-n", "2")]
    dcmtk = [("dcmcjpeg", "+un", "+e1"), ("dcmcjpeg", "+un", "+el", "+sv", "6"), ("dcmcrle",)]
    dcmtk += [("dcmcjpls", "+el", way) for way in ("+il", "+is", "+in")]
    for (stored, allocated, high), signed in product(DEPTHS + ODD_DEPTHS, (False, True)):
        values = samples(stored, signed)
        shape = f"{stored}/{allocated}/{high} {'signed' if signed else 'unsigned'}"
        plain = lambda: image(values, stored, allocated, high, signed)
        for command in dcmtk:
            # Interleaving is of colours.
            if command[-1] not in ("+is", "+in"):
                rows.add(f"{' '.join(command)} {shape}", plain(), values, tool(*command))
        for options in gdcm:
            if high == stored - 1 or options[0] != "--j2k":
                rows.add(f"gdcmconv {options} {shape}", plain(), values, tool("gdcmconv", *options))
        if high == stored - 1:
            rows.add(f"openjpeg {shape}", plain(), values, compressed(J2K, "pylibjpeg"))
            rows.add(f"pylibjpeg rle {shape}", plain(), values, compressed(RLE, "pylibjpeg"))
        words = words_of(values, stored, allocated, high)
        for style in ("literals", "runs", "mixed"):
            rows.add(f"own rle {style} {shape}", plain(), values, streams(RLE, [rle(frame, style) for frame in words]))
    for planar, frames, photometric in product((0, 1), (1, 3), ("RGB", "YBR_FULL")):
        values = samples(8, components=3, frames=frames)
        shape = f"colours planar {planar} {frames} frames {photometric}"
        plain = lambda: image(values, 8, 8, photometric=photometric, planar=planar)
        # These change the colours on their way.
        for command in dcmtk if photometric == "RGB" else dcmtk[2:]:
            rows.add(f"{' '.join(command)} {shape}", plain(), values, tool(*command))
        for options in gdcm if photometric == "RGB" else gdcm[:3]:
            rows.add(f"gdcmconv {options} {shape}", plain(), values, tool("gdcmconv", *options))
        # From planes pydicom makes a stream of other pixels.
        if photometric == "RGB" and not planar:
            for reversible in (True, False):
                options = {"use_mct": reversible}
                rows.add(f"openjpeg {options} {shape}", plain(), values, compressed(J2K, "pylibjpeg", **options))
    for stored, allocated in ((8, 8), (12, 16), (16, 16), (32, 32)):
        for components, frames in ((1, 1), (1, 3), (3, 2)):
            values = samples(stored, components=components, frames=frames)
            words = words_of(values, stored, allocated, stored - 1)
            shape = f"{stored}/{allocated} {components} samples {frames} frames"
            for fragments, table in ((1, True), (1, False), (2, True)):
                how = streams(RLE, [rle(frame) for frame in words], fragments, table)
                rows.add(f"own rle {shape} {fragments} fragments {table}", image(values, stored, allocated), values, how)
    for photometric in ("MONOCHROME1", "PALETTE COLOR"):
        values = samples(8)
        for command in dcmtk[:4]:
            plain = image(values, 8, 8, photometric=photometric)
            rows.add(f"{' '.join(command)} {photometric}", plain, values, tool(*command))


def lossy(rows):
    for (stored, allocated, high), signed in product(DEPTHS[:1] + DEPTHS[3:4], (False, True)):
        values = samples(stored, signed, smooth=True)
        shape = f"{stored}/{allocated} {'signed' if signed else 'unsigned'}"
        plain = lambda: image(values, stored, allocated, high, signed)
        for command in [("dcmcjpeg", "+un", "+eb" if stored == 8 else "+ee", "+q", quality) for quality in (60, 90, 100)]:
            rows.add(f"{' '.join(map(str, command))} {shape}", plain(), None, tool(*command))
    for (stored, allocated, high), signed, near in product(DEPTHS, (False, True), (1, 2, 3, 7)):
        values = samples(stored, signed)
        shape = f"near {near} {stored}/{allocated} {'signed' if signed else 'unsigned'}"
        plain = lambda: image(values, stored, allocated, high, signed)
        rows.add(f"dcmcjpls {shape}", plain(), None, tool("dcmcjpls", "+un", "+en", "+md", near))
        rows.add(f"gdcmconv {shape}", plain(), None, tool("gdcmconv", "--jpegls", "-Y", "-e", near))
    for way, near, frames in product(("+il", "+is", "+in"), (1, 3), (1, 2)):
        values = samples(8, components=3, frames=frames)
        plain = image(values, 8, 8)
        command = ("dcmcjpls", "+un", "+en", "+md", near, way)
        rows.add(f"{' '.join(map(str, command))} colours {frames} frames", plain, None, tool(*command))
    for (stored, allocated, _), signed, rate in product(DEPTHS, (False, True), (4, 10)):
        values = samples(stored, signed, smooth=True)
        shape = f"rate {rate} {stored}/{allocated} {'signed' if signed else 'unsigned'}"
        plain = lambda: image(values, stored, allocated, signed=signed)
        rows.add(f"openjpeg {shape}", plain(), None, compressed(J2K_LOSSY, "pylibjpeg", j2k_cr=[rate]))
        rows.add(f"gdcmconv irreversible {shape}", plain(), None, tool("gdcmconv", "--j2k", "-Y", "-r", rate, "--irreversible"))
    for mode, subsampling, blocks, quality in product(("L", "RGB"), (0, 1, 2), (0, 1, 3), (75, 95)):
        if mode == "L" and subsampling:
            continue
        components = 1 if mode == "L" else 3
        values = samples(8, components=components, smooth=True)
        out = BytesIO()
        picture = Image.fromarray(values[0].astype(np.uint8).squeeze(), mode)
        picture.save(out, "JPEG", quality=quality, subsampling=subsampling, restart_marker_blocks=blocks)
        photometric = "MONOCHROME2" if mode == "L" else "YBR_FULL_422" if subsampling else "YBR_FULL"
        if components == 3 and not blocks:
            # The stream says that it is JFIF, which has YBR, or what its components are.
            for label, keep in (("RGB", False), ("RGB", True)):
                out_ = BytesIO()
                picture.save(out_, "JPEG", quality=quality, keep_rgb=keep, subsampling=0 if keep else subsampling)
                name = f"pillow subsampling {subsampling} quality {quality} labelled RGB {'and so' if keep else 'and JFIF'}"
                ds = image(values, 8, 8, photometric="RGB")
                rows.add(name, ds, None, streams(BASELINE, [out_.getvalue()]))
        for end in (b"", b"\xff\xd9"):
            stream = out.getvalue().removesuffix(b"\xff\xd9") + end
            name = f"pillow {mode} subsampling {subsampling} restart {blocks} quality {quality} {'whole' if end else 'no end'}"
            rows.add(name, image(values, 8, 8, photometric=photometric), None, streams(BASELINE, [stream]))


def manifest(rows):
    endpoint = {"reference": "urn:uuid:endpoint"}
    instances = [{"uid": row["uid"], "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.7"}} for row in rows]
    series = {"uid": SERIES, "modality": {"code": "OT"}, "endpoint": [endpoint], "instance": instances}
    study = {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": "urn:uuid:patient"}}
    study |= {"identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}], "series": [series]}
    address = {"resourceType": "Endpoint", "status": "active", "connectionType": {"code": "dicom-wado-rs"}}
    address |= {"payloadType": [{"text": "DICOM"}], "address": "http://files.example/rs"}
    patient = {"resourceType": "Patient", "identifier": [{"value": "P"}]}
    named = [("study", study), ("endpoint", address), ("patient", patient)]
    entries = [{"fullUrl": f"urn:uuid:{name}", "resource": resource} for name, resource in named]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def make(folder):
    (folder / "files").mkdir(parents=True)
    rows = Rows(folder)
    own_lossless(rows)
    encoded(rows)
    lossy(rows)
    rows.run()
    (folder / "index.json").write_text(json.dumps(rows.index))
    (folder / "manifest.json").write_text(json.dumps(manifest(rows.index)))
    print(json.dumps({"rows": len(rows.index), "not_made": rows.not_made}))


def in_rgb(values, photometric):
    if not photometric.startswith("YBR_FULL"):
        return values
    y, blue, red = (values[..., n].astype(float) - (0, 128, 128)[n] for n in range(3))
    colours = [y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue]
    return np.clip(np.rint(np.stack(colours, -1)), 0, 255).astype(np.int64)


def by_dcmtk(file, ds, scratch):
    syntax = str(ds.file_meta.TransferSyntaxUID)
    if syntax in (J2K, J2K_LOSSY):
        return None
    program = {RLE: ["dcmdrle"], LS: ["dcmdjpls"], LS_NEAR: ["dcmdjpls"]}.get(syntax)
    # Lossless colours stay what they are.
    program = program or ["dcmdjpeg", "+cn" if syntax in (LOSSLESS, LOSSLESS_SV1) else "+cp"]
    run(*program, file, scratch)
    return dcmread(scratch)


def by_gdcm(file, ds, scratch):
    run("gdcmconv", "-w", file, scratch)
    return dcmread(scratch)


def by_pydicom(file, ds, scratch):
    # Without loss, colours stay what they are.
    is_cosine = ds.file_meta.TransferSyntaxUID in (BASELINE, EXTENDED) and ds.SamplesPerPixel == 3
    arrays = pixels.pixel_array(ds, raw=not is_cosine)
    shape = (int(ds.get("NumberOfFrames") or 1), ds.Rows, ds.Columns, ds.SamplesPerPixel)
    return meaning(arrays.reshape(shape), ds), "RGB" if is_cosine else ds.PhotometricInterpretation


ORACLES = {"dcmtk": by_dcmtk, "gdcm": by_gdcm, "pydicom": by_pydicom}


def compare_row(row, folder, root, report):
    file = folder / row["file"]
    ds = dcmread(file)
    syntax = str(ds.file_meta.TransferSyntaxUID)
    url = f"{root}/studies/{STUDY}/series/{SERIES}/instances/{row['uid']}"
    status, _, body = get(url, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1")
    if status != 200:
        report["refused"].append(f"{row['name']}: {status}")
        return
    answer = dcmread(BytesIO(body))
    ours = native(answer)
    frames = ",".join(str(n + 1) for n in range(len(ours)))
    decoded = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
    status, headers, body = get(f"{url}/frames/{frames}", decoded)
    data = b"".join(data for _, data in parts(headers, body)) if status == 200 else b""
    if status != 200 or data != answer.PixelData[: len(data)] or len(answer.PixelData) - len(data) > 1:
        report["wrong"].append(f"{row['name']}: frames and instance differ: {status}")
        return
    # The samples above the stored bits of signed words are copies of the sign.
    if ds.PixelRepresentation and row["name"].startswith(("own lossless", "openjpeg")):
        whole = np.frombuffer(data, f"<i{ds.BitsAllocated // 8}").astype(np.int64)
        if not np.array_equal(whole, ours.ravel()):
            report["unextended"].append(row["name"])
    if ds.PhotometricInterpretation.startswith("MONOCHROME"):
        compare_picture(row, url, ours[0, :, :, 0], ds, report)
    said = {}
    ours = in_rgb(ours, answer.PhotometricInterpretation)
    for name, oracle in ORACLES.items():
        with tempfile.TemporaryDirectory() as scratch:
            try:
                found = oracle(file, ds, Path(scratch) / "out.dcm")
                if found is None:
                    continue
                if isinstance(found, Dataset):
                    found = native(found), found.PhotometricInterpretation
                said[name] = in_rgb(*found)
            except Exception as error:
                report["not_read"].setdefault(name, []).append(f"{row['name']}: {str(error)[:80]}")
    off = {name: int(np.abs(ours - theirs).max()) if theirs.shape == ours.shape else -1 for name, theirs in said.items()}
    # Decoders of cosines and wavelets round in their own ways, and some make colours smooth.
    allowed = {BASELINE: 3, EXTENDED: 3, J2K_LOSSY: 1}.get(syntax, 0)
    agree = {name for name, most in off.items() if 0 <= most <= allowed}
    if "truth" in row:
        truth = in_rgb(np.array(row["truth"]).reshape(ours.shape), ds.PhotometricInterpretation)
        if np.array_equal(ours, truth):
            agree.add("truth")
        else:
            off["truth"] = int(np.abs(ours - truth).max())
    report["compared"] += 1
    report["by_syntax"][syntax] = report["by_syntax"].get(syntax, 0) + 1
    others = {name: most for name, most in off.items() if name not in agree}
    decoders = agree - {"truth"}
    if "truth" in others and len(decoders) >= 2 and len(decoders) == len(said):
        # All decoders have the same from what the encoder made of it.
        report["encoders"].append(f"{row['name']}: off by {others}; like {sorted(agree)}")
    elif not agree or "truth" in others:
        report["wrong"].append(f"{row['name']}: off by {others}; like {sorted(agree)}")
    elif others:
        report["disagreements"].append(f"{row['name']}: like {sorted(agree)}; off by {others}")


# The picture of a grey frame by a window, from what its samples mean.
def compare_picture(row, url, values, ds, report):
    stored = ds.BitsStored
    center, width = (0 if ds.PixelRepresentation else 1 << (stored - 1)), max(2, (1 << stored) * 3 // 4)
    status, _, body = get(f"{url}/frames/1/rendered?window={center},{width},linear-exact", "image/png")
    if status != 200:
        report["refused"].append(f"{row['name']}: picture: {status}")
        return
    picture = np.asarray(Image.open(BytesIO(body))).astype(int)
    shade = np.clip((values - center) / width + 0.5, 0, 1)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        shade = 1 - shade
    report["pictures"] += 1
    if picture.shape != shade.shape or np.abs(picture - shade * 255).max() > 0.51:
        report["wrong"].append(f"{row['name']}: the picture is another")


def compare(folder, root):
    index = json.loads((folder / "index.json").read_text())
    report = {"compared": 0, "pictures": 0, "by_syntax": {}}
    report |= {"wrong": [], "refused": [], "encoders": [], "disagreements": [], "unextended": [], "not_read": {}}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: compare_row(row, folder, root, report), index))
    report["not_read"] = {name: len(rows) for name, rows in report["not_read"].items()} | {
        f"{name}, some": rows[:5] for name, rows in report["not_read"].items()
    }
    print(json.dumps(report))


if __name__ == "__main__":
    if not all(map(shutil.which, ("dcmdjpeg", "dcmcjpls", "gdcmconv"))):
        sys.exit("dcmtk or gdcmconv is missing")
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        compare(Path(sys.argv[2]), sys.argv[3])
