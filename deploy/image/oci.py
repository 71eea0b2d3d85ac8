"""Writes an OCI image archive: oci.py BINARY BILL ARCHIVE. One layer, no timestamps but the epoch, so that equal input
gives equal bytes."""

import gzip
import hashlib
import io
import json
import platform
import sys
import tarfile

USER = 65532
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def tar(files):
    """A tar of (name, mode, content, owner); a content of None makes a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, mode, content, owner in files:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.uid, entry.gid, entry.mtime = mode, owner, owner, 0
            if content is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def described(media_type, blob, **more):
    return {"mediaType": media_type, "digest": digest(blob), "size": len(blob), **more}


def digest(blob):
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def to_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main():
    with open(sys.argv[1], "rb") as binary, open(sys.argv[2], "rb") as bill:
        binary, bill = binary.read(), bill.read()
    version = json.loads(bill)["metadata"]["component"]["version"]
    layer = tar([
        ("etc", 0o755, None, 0),
        ("etc/kallback", 0o755, None, 0),
        ("etc/passwd", 0o644, f"kallback:x:{USER}:{USER}::/var/lib/kallback:/nonexistent\n".encode(), 0),
        ("tmp", 0o1777, None, 0),
        ("usr", 0o755, None, 0),
        ("usr/bin", 0o755, None, 0),
        ("usr/bin/kallback", 0o755, binary, 0),
        ("usr/share", 0o755, None, 0),
        ("usr/share/kallback.cdx.json", 0o644, bill, 0),
        ("var", 0o755, None, 0),
        ("var/lib", 0o755, None, 0),
        ("var/lib/kallback", 0o700, None, USER),
    ])
    packed = gzip.compress(layer, compresslevel=9, mtime=0)
    labels = {
        "org.opencontainers.image.title": "kallback",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
    }
    config = to_json({
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": f"{USER}:{USER}",
            "Entrypoint": ["/usr/bin/kallback"],
            "Cmd": ["run", "--config", "/etc/kallback/kallback.toml"],
            "ExposedPorts": {"8443/tcp": {}, "9090/tcp": {}},
            "WorkingDir": "/var/lib/kallback",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "deploy/image/build"}],
    })
    manifest = to_json({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("application/vnd.oci.image.config.v1+json", config),
        "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
        "annotations": labels,
    })
    name = {"org.opencontainers.image.ref.name": version}
    index = to_json({
        "schemaVersion": 2,
        "manifests": [described("application/vnd.oci.image.manifest.v1+json", manifest, annotations=name)],
    })
    blobs = sorted((digest(blob).split(":")[1], blob) for blob in (config, manifest, packed))
    files = [("blobs", 0o755, None, 0), ("blobs/sha256", 0o755, None, 0)]
    files += [(f"blobs/sha256/{name}", 0o644, blob, 0) for name, blob in blobs]
    files += [("index.json", 0o644, index, 0), ("oci-layout", 0o644, b'{"imageLayoutVersion":"1.0.0"}', 0)]
    with open(sys.argv[3], "wb") as archive:
        archive.write(tar(files))


main()
