"""A store at an address keeps what one on a disk keeps: complete results and nothing else."""

from __future__ import annotations

import threading
import uuid

import pytest

from fairpress.core.errors import UserError
from fairpress.store.local import DamagedEntry, Store
from fairpress.store.remote import RemoteStore, open_store

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def bucket_server():
    """The address of a server that speaks S3."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    running = server.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture(params=["local", "memory", "s3"])
def address(request, tmp_path, monkeypatch):
    """An address on a disk, in memory, and in a bucket of a server that speaks S3 (where moto and s3fs are there)."""
    if request.param == "local":
        yield f"local://{tmp_path}/store"
    elif request.param == "memory":
        yield f"memory://{uuid.uuid4()}/store"
    else:
        pytest.importorskip("s3fs", reason="s3fs is not installed")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-word")
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("bucket_server"))
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        bucket = f"bucket-{uuid.uuid4()}"
        s3fs.S3FileSystem().mkdir(bucket)
        yield f"s3://{bucket}/store"


def test_what_is_put_is_got_and_what_is_there_stays(address):
    store = open_store(address)
    assert isinstance(store, RemoteStore)
    assert store.address == address
    assert store.get(KEY) is None
    assert not store.has(KEY)
    assert store.state(KEY) == "absent"
    assert store.meta(KEY) is None
    assert store.all_keys() == []
    assert list(store.metas()) == []
    files = {"x.bin": bytes(range(256)) * 1000, "empty": b"", "y.json": b"{}"}
    store.put(KEY, files, {"kind": "train", "seconds": 3.0})
    store.put(KEY, {"x.bin": b"of a second writer"}, {})
    again = open_store(address)
    assert again.get(KEY).files == files
    assert again.state(KEY) == "complete"
    assert again.meta(KEY) == {"kind": "train", "seconds": 3.0}
    again.put(OTHER, {"z": b"1"}, {"kind": "audit"})
    assert again.all_keys() == [KEY, OTHER]
    assert [m["kind"] for m in again.metas()] == ["train", "audit"]
    again.remove(OTHER)
    again.remove(OTHER)
    assert store.all_keys() == [KEY]
    assert store.sweep() == 0


@pytest.mark.parametrize("damage", ["flip", "truncate", "other key", "empty"])
def test_a_damaged_entry_is_removed_with_a_warning_and_can_be_made_again(address, damage):
    store = open_store(address)
    store.put(KEY, {"x.bin": b"hello" * 100}, {})
    fs, path = fsspec.core.url_to_fs(f"{address}/entries/{KEY[:2]}/{KEY}.tar")
    packed = fs.cat_file(path)
    if damage == "flip":
        fs.pipe_file(path, packed.replace(b"hello", b"hellp", 1))
    elif damage == "truncate":
        fs.pipe_file(path, packed[:1600])
    elif damage == "empty":
        fs.pipe_file(path, b"")
    else:
        store.put(OTHER, {"x.bin": b"other"}, {})
        fs.pipe_file(path, fs.cat_file(path.replace(KEY, OTHER).replace("/aa/", "/bb/")))
    assert store.state(KEY) == "damaged"
    assert store.has(KEY)
    with pytest.warns(DamagedEntry, match="damaged"):
        assert store.get(KEY) is None
    assert store.state(KEY) == "absent"
    store.put(KEY, {"x.bin": b"hello"}, {})
    assert store.get(KEY).files == {"x.bin": b"hello"}


def test_processes_of_one_host_take_turns(address):
    order = []

    def make(name):
        store = open_store(address)
        with store.lock(KEY):
            order.append(name)
            if store.get(KEY) is None:
                order.append("made")
                store.put(KEY, {"x": name.encode()}, {})

    threads = [threading.Thread(target=make, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order.count("made") == 1
    assert len(order) == 9


def test_addresses_that_cannot_be_are_one_sentence_that_holds_no_secret(tmp_path, monkeypatch):
    assert type(open_store(tmp_path)) is Store
    assert open_store(f"file://{tmp_path}/x").root == tmp_path / "x"
    with pytest.raises(UserError, match="the file system 'nosuch' is unknown"):
        open_store("nosuch://bucket/x")
    for address in (
        "s3://who:secret-word@bucket/x",
        "s3://who:secret/word@bucket/x",
        "s3://bucket/x?token=secret-word",
        "simplecache::s3://who:secret-word@bucket/x",
    ):
        with pytest.raises(
            UserError, match="contains credentials, options or a chain of file systems; remove them"
        ) as error:
            open_store(address)
        assert "secret" not in str(error.value)
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "entries").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot access the store local://.*Finished results are kept"):
        open_store(f"local://{folder}").put(KEY, {"x": b"1"}, {})


def test_a_file_system_whose_package_is_absent_names_it(monkeypatch):
    def absent(*args, **kwargs):
        raise ImportError("Install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(
        UserError, match=r"the store gs://bucket/x needs `python -m pip install 'fairpress\[gcs\]'`"
    ):
        open_store("gs://bucket/x")


@pytest.mark.slow
def test_a_study_gives_the_same_from_a_store_at_an_address(data_folder, tmp_path):
    from fairpress.studies.config.study import StudyConfig
    from fairpress.studies.report.export_models import export
    from fairpress.studies.report.rewrite import report_again
    from fairpress.studies.run import run_study

    config = StudyConfig.model_validate(
        {
            "dataset": "compas",
            "model": {"name": "mlp", "widths": [8]},
            "training": {"max_epochs": 1},
            "recipes": ["int8"],
            "audit": {"by": ["sex"]},
        }
    )
    address = f"local://{tmp_path}/far"
    run_study("s", config, out=tmp_path / "a", store=address, workers=1)
    run_study("s", config, out=tmp_path / "b", workers=1)
    for path in (p for p in (tmp_path / "a").rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path
    assert not run_study("s", config, out=tmp_path / "a", store=address, workers=1).outcome.ran
    assert report_again(tmp_path / "a", store=address).sections
    assert len(export(tmp_path / "a", tmp_path / "models", store=address).folders) == 2
    # The folder of the study holds no results; those are at the address.
    assert sorted(p.name for p in (tmp_path / "far").iterdir()) == ["entries"]
