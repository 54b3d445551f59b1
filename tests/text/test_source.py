"""Where a PLM comes from: specifications, fingerprints, and the hub as a loopback server plays it."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from flipbench.errors import UserError
from flipbench.text import source
from flipbench.text.source import Source, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "README.md": b"words",
}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("small", Source("small", "small")),
        (f"roberta-base@{COMMIT}", Source(f"roberta-base@{COMMIT}", "hub", "roberta-base", COMMIT)),
        ("some-lab/Tiny.BERT_4L@v1.0", Source("some-lab/Tiny.BERT_4L@v1.0", "hub", "some-lab/Tiny.BERT_4L", "v1.0")),
    ],
)
def test_specifications(spec, wanted):
    assert parse(spec) == wanted


def test_a_local_plms_architecture_is_known_without_loading_it(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    assert source.architecture(str(tmp_path)) == source.architecture(f"{tmp_path}#{'0' * 64}") == "bert"
    for damaged in (b"{", b"[]", b"{}"):
        (tmp_path / "config.json").write_bytes(damaged)
        assert source.architecture(str(tmp_path)) == ""
    assert source.architecture("small") == source.architecture(f"roberta-base@{COMMIT}") == ""


def test_an_existing_folder_is_a_folder_whatever_it_looks_like(tmp_path, monkeypatch):
    (tmp_path / "roberta-base").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse("roberta-base").kind == parse(str(tmp_path)).kind == "folder"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("roberta-base", r"a hub id needs a revision: roberta-base@COMMIT"),
        ("roberta-base@main", r"'main' can move; pin a commit"),
        ("roberta-base@refs/pr/2", r"'refs/pr/2' can move"),
        ("roberta-base@", r"'' can move"),
        ("/no/such/folder", r"no such folder; valid: a folder, HUB-ID@REVISION, small"),
        ("a/b/c@v1", r"no such folder"),
    ],
)
def test_bad_specifications_say_what_is_valid(spec, said):
    with pytest.raises(UserError, match=said) as error:
        parse(spec)
    assert "\n" not in str(error.value)


def folder(at, **changed):
    at.mkdir()
    for name, content in FILES.items():
        (at / name).write_bytes(changed.get(name.partition(".")[0], content))
    return at


def test_the_fingerprint_is_of_content_not_of_place_or_prose(tmp_path):
    first = source.fingerprint(str(folder(tmp_path / "a")))
    assert source.fingerprint(str(folder(tmp_path / "b", README=b"other", pytorch_model=b"x"))) == first
    for part in ("config", "model", "tokenizer"):
        other = folder(tmp_path / part, **{part: b"another"})
        assert source.fingerprint(str(other)) != first
    (tmp_path / "a" / "model.safetensors").write_bytes(b"heavier")  # the same size
    os.utime(tmp_path / "a" / "model.safetensors", ns=(1, 1))
    assert source.fingerprint(str(tmp_path / "a")) != first


def test_pinned_folder(tmp_path):
    plm = folder(tmp_path / "plm")
    content = source.fingerprint(str(plm))
    pinned = f"{plm}#{content}"
    assert source.fingerprint(pinned) == content
    assert source.folder_of(parse(pinned)) == plm
    (plm / "config.json").write_text('{"changed": 1}', encoding="utf-8")
    assert source.fingerprint(pinned) == content
    with pytest.raises(UserError, match="not the one that is pinned"):
        source.folder_of(parse(pinned))
    assert source.fingerprint(f"{tmp_path}/absent#{content}") == content
    with pytest.raises(UserError, match=r"absent: holds no config\.json"):
        source.folder_of(parse(f"{tmp_path}/absent#{content}"))


def test_fingerprints_without_network():
    assert len({source.fingerprint(s) for s in ("small", f"a/b@{COMMIT}", f"a/c@{COMMIT}", "a/b@v1")}) == 4


def test_planning_imports_neither_torch_nor_transformers():
    code = (
        "import sys; from flipbench.text import source; source.fingerprint('small'); source.fingerprint('a/b@v1');"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_without_weights_says_which_are_read(tmp_path):
    old = folder(tmp_path / "old")
    (old / "model.safetensors").unlink()
    assert source.fingerprint(str(old)) != source.fingerprint(str(folder(tmp_path / "new")))
    (old / "pytorch_model.bin").unlink()
    with pytest.raises(UserError, match=r"holds no weights \(model.safetensors or pytorch_model.bin\)"):
        source.fingerprint(str(old))


class Hub(BaseHTTPRequestHandler):
    """What the hub answers for one public model, ``lab/tiny``, with the tag ``v1``."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        answers = {f"/lab/tiny/resolve/{COMMIT}/{name}": content for name, content in FILES.items()}
        model = {"id": "lab/tiny", "sha": COMMIT, "siblings": []}
        tree = [
            {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()} for n, c in FILES.items()
        ]
        answers["/api/models/lab/tiny/revision/v1"] = json.dumps(model).encode()
        answers[f"/api/models/lab/tiny/tree/{COMMIT}"] = json.dumps(tree).encode()
        body = answers.get(path, b"{}")
        self.send_response(200 if path in answers else 404)
        if path not in answers:
            self.send_header("X-Error-Code", "RevisionNotFound" if "lab/tiny" in path else "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(spec, home, endpoint, **environment):
    """The folder of a specification, in a process of its own: the library reads its settings when imported."""
    code = (
        "import sys; from flipbench.errors import UserError; from flipbench.text import source\n"
        "try: print(source.folder_of(source.parse(sys.argv[1])))\n"
        "except UserError as error: sys.exit(f'UserError: {error}')"
    )
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", **environment}
    return subprocess.run([sys.executable, "-c", code, spec], capture_output=True, text=True, env=env, timeout=120)


@pytest.mark.parametrize("revision", [COMMIT, "v1"])
def test_pinned_revision_is_found_offline(revision, hub, tmp_path):
    done = fetch(f"lab/tiny@{revision}", tmp_path, hub)
    assert (done.returncode, done.stderr) == (0, "")  # no bars, no advice
    downloaded = {file.name: file.read_bytes() for file in Path(done.stdout.strip()).iterdir()}
    assert downloaded == {name: FILES[name] for name in ("config.json", "model.safetensors", "tokenizer.json")}
    asked = len(Hub.asked)
    assert not any("pytorch_model.bin" in path for path in Hub.asked)
    assert fetch(f"lab/tiny@{revision}", tmp_path, hub).stdout == done.stdout
    assert len(Hub.asked) == asked
    offline = fetch(f"lab/tiny@{revision}", tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline.stdout == done.stdout


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lab/tiny@v2", "the hub has no revision 'v2' of it"),
        ("lab/none@v1", "the hub has no such model (or a private one)"),
    ],
)
def test_what_the_hub_does_not_have(spec, said, hub, tmp_path):
    done = fetch(spec, tmp_path, hub)
    assert done.returncode == 1
    assert done.stderr == f"UserError: PLM '{spec}': {said}\n"


def test_offline_without_the_model_is_one_line(tmp_path):
    done = fetch(f"lab/tiny@{COMMIT}", tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"UserError: PLM 'lab/tiny@{COMMIT}': it is not in the cache, and the hub cannot be")
    assert done.stderr.count("\n") == 1
