"""What policies are told from outside: options, answers of models and servers, files."""

import io
import json
import warnings
import zipfile
from http import client
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import yaml
from choices import (
    ODD_VALUES,
    Choices,
    changed_bytes,
    changed_json,
    changed_lines,
    changed_tree,
)
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from target import Target

from gnnflow.cli import options
from gnnflow.config import TrainConfig
from gnnflow.errors import ConfigError
from gnnflow.policies import PolicyError
from gnnflow.policies.classifier.classifier_folder import load_classifier, save_classifier
from gnnflow.policies.classifier.classifiers import make_classifier
from gnnflow.policies.decision import validate_decision
from gnnflow.policies.labelled_situations import (
    read_situations,
    shipped_situations,
    write_situations,
)
from gnnflow.policies.llm.answers import ANSWER_SCHEMA, parse_answer
from gnnflow.policies.llm.chat.endpoint import Endpoint
from gnnflow.policies.observation_features import FEATURE_NAMES

ANSWER = {
    "replace": True,
    "expected_hit_rate_change": 0.1,
    "expected_volume_change": -0.2,
    "explanation": "many stale rows",
}
_HTTP_DATE = "Content-Type: application/json\r\n"


class YamlTarget(Target):
    """The file of `--config`."""

    name = "yaml"
    modules = ("gnnflow.cli.options", "gnnflow.config.train", "gnnflow.config.option_values")
    words = ("!!python/object", "&a", "*a", "<<:", "---", "lr:", "fanout:", ".inf", "0o7", "? ")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file = folder / "options.yaml"
        self._text = options.to_yaml(TrainConfig(parts=Path("parts")))
        self._values = yaml.safe_load(self._text)

    def seeds(self) -> list[bytes]:
        apply = b"\0!!python/object/apply:os.system ['true']"
        bomb = b"\0a: &a [1,1]\nb: &b [*a,*a]\nlr: [*b,*b]\n"
        return [b"\0" + self._text.encode(), apply, bomb, b"\0lr: 0.5\n", *super().seeds()]

    def run(self, data: bytes) -> None:
        choices = Choices(data)
        if choices.below(4) == 0:
            content = choices.rest()
        elif choices.flag():
            content = changed_bytes(choices, self._text.encode())
        else:
            names = [choices.pick(list(self._values)) for _ in range(1 + choices.below(3))]
            values = {name: choices.pick(ODD_VALUES) for name in names}
            content = yaml.safe_dump(values).encode("utf-8", "surrogatepass")
        self._file.write_bytes(content)
        said = io.StringIO()
        try:
            with mock.patch("sys.stderr", said), mock.patch("sys.stdout", said):
                options.parse(TrainConfig, prog="p", args=["--config", str(self._file), "parts"])
        except SystemExit as ended:
            # A usage error: one line and code 2; 0 where the file asks to print the options.
            if ended.code == 2 and said.getvalue().count("\n") == 1:
                raise ConfigError(said.getvalue().strip()) from None
            if ended.code != 0:
                raise AssertionError(f"code {ended.code}: {said.getvalue()!r}") from ended


class AnswersTarget(Target):
    """The text that a language model wrote."""

    name = "llm-answers"
    modules = ("gnnflow.policies.llm.answers", "gnnflow.policies.decision")
    words = (*(f'\\"{name}\\"' for name in ANSWER_SCHEMA["properties"]), "```json", "```", "true",
             '\\"yes\\"', "<think>", "</think>", "NaN", "1e999", "-0.2", "{", "}")  # fmt: skip

    def seeds(self) -> list[bytes]:
        text = json.dumps(ANSWER).encode()
        alone, no = b'{"replace": "Yes"}', b'{"replace": false}'
        return [
            b"\0" + text,
            b"\0```json\n" + text + b"\n```",
            b"\0<think>" + no + b"</think> Sure: " + alone + b" or " + text,
            b'\0{"decision": ' + alone + b"} " + no + b" <think>" + no,
            *super().seeds(),
        ]

    def run(self, data: bytes) -> None:
        text = changed_json(Choices(data), json.dumps(ANSWER)).decode("utf-8", "surrogatepass" if
            data[:1] == b"\3" else "replace")  # fmt: skip
        validate_decision(parse_answer(text))


class _FakeSocket:
    """A connection whose other end has said all that it will."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    def makefile(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self._said)

    def sendall(self, data: Any) -> None:
        pass

    def close(self) -> None:
        pass

    setsockopt = settimeout = shutdown = lambda self, *_: None


class HttpTarget(Target):
    """All bytes that a server may send for a question, status line and headers included."""

    name = "http-answers"
    modules = (
        "gnnflow.policies.llm.chat.endpoint",
        "gnnflow.policies.llm.chat.chat_forms",
        "gnnflow.policies.llm.chat.http_request",
    )
    words = ("HTTP/1.1 200 OK\\x0d\\x0a", "Content-Length: ", "Transfer-Encoding: chunked",
             "Location: http://b/", "302", "429", "Content-Encoding: gzip", '\\"choices\\"',
             '\\"message\\"', '\\"content\\"')  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        reply = {"choices": [{"message": {"role": "assistant", "content": json.dumps(ANSWER)}}]}
        self._body = json.dumps(reply)

    def seeds(self) -> list[bytes]:
        body = self._body.encode()
        whole = (
            f"HTTP/1.1 200 OK\r\n{_HTTP_DATE}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
        away = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere:1/\r\n\r\n"
        refused = b'HTTP/1.1 400 X\r\n\r\n{"error": {"message": "max_tokens is too large"}}'
        patience = b"HTTP/1.1 503 X\r\nRetry-After: 1\r\n\r\n"
        parts = b'HTTP/1.1 200 X\r\n\r\n{"choices": [{"finish_reason": "length", "message": '
        parts += b'{"content": [{"type": "text", "text": "{"}], "reasoning": "{}"}}]}'
        seeds = (whole, chunked, away, refused, patience, parts)
        return [b"\0" + one for one in seeds] + super().seeds()

    def run(self, data: bytes) -> None:
        choices = Choices(data)
        if choices.below(3) == 0:
            reply = choices.rest()
        else:
            status = choices.pick((200, 200, 400, 429, 302, 307, 204, 100, 999, 0))
            body = changed_json(choices, self._body)
            length = len(body) if choices.flag() else choices.number()
            head = f"HTTP/1.1 {status} X\r\n{_HTTP_DATE}Content-Length: {length}\r\n\r\n"
            reply = head.encode() + body
        asked: list[Any] = []

        def connect(address: Any, *_: Any, **__: Any) -> _FakeSocket:
            asked.append(address)
            return _FakeSocket(reply)

        endpoint = Endpoint("http://here:1/v1", "m", timeout_s=5, sleep=lambda _: None)
        with mock.patch.object(client.socket, "create_connection", connect):
            text = endpoint.chat([{"role": "user", "content": "?"}])
        assert all(address == ("here", 1) for address in asked), f"asked {asked}"
        parse_answer(text)


class SituationsTarget(Target):
    """Lines of situations and observations."""

    name = "situations"
    modules = ("gnnflow.policies.labelled_situations", "gnnflow.policies.observation")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file = folder / "situations.jsonl"
        write_situations(self._file, shipped_situations("examples")[:3])
        self._text = self._file.read_text()

    def run(self, data: bytes) -> None:
        self._file.write_bytes(changed_lines(Choices(data), self._text))
        for situation in read_situations(self._file):
            assert situation.replace in (True, False)


class ClassifierTarget(Target):
    """Folders of classifiers: the description and the model, which is an archive of JSON."""

    name = "classifiers"
    modules = (
        "gnnflow.policies.classifier.classifier_folder",
        "gnnflow.policies.classifier.classifiers",
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        draw = np.random.default_rng(0)
        features = draw.random((30, len(FEATURE_NAMES)))
        labels = draw.random(30) < 0.5
        self._files: dict[str, dict[str, bytes]] = {}
        for kind in ("lr", "rf", "mlp", "svm"):
            classifier = make_classifier(kind)
            if kind == "rf":  # the shipped forests take a second to read
                small = make_pipeline(RandomForestClassifier(2, max_depth=2, random_state=0))
                classifier._make = lambda _, small=small: small  # type: ignore[method-assign]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                classifier.fit(features, labels, np.ones(30), 0)
            place = folder / kind
            save_classifier(place, kind, classifier, num_situations=30, groups=(), measures={})
            self._files[kind] = {path.name: path.read_bytes() for path in place.iterdir()}
        self._place = folder / "classifier"
        self._place.mkdir()

    def run(self, data: bytes) -> None:
        choices = Choices(data)
        files = dict(self._files[choices.pick(sorted(self._files))])
        how = choices.below(4)
        if how == 0:
            files["classifier.json"] = changed_json(choices, files["classifier.json"].decode())
        elif how == 1:
            files["model.skops"] = changed_bytes(choices, files["model.skops"])
        else:
            files["model.skops"] = _changed_archive(choices, files["model.skops"])
        for name, content in files.items():
            (self._place / name).write_bytes(content)
        _, classifier = load_classifier(str(self._place))
        try:
            classifier.probabilities(np.zeros((1, len(FEATURE_NAMES))))
        except PolicyError:
            raise
        except Exception:
            # The controller counts what a policy raises and goes on; nothing else may happen.
            pass


def _changed_archive(choices: Choices, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(stream, "w") as archive:
        names = whole.namelist()
        chosen = choices.pick(names) if choices.flag() else "schema.json"
        for name in names:
            member = whole.read(name)
            if name == chosen and name == "schema.json":
                schema = changed_tree(choices, json.loads(member))
                member = json.dumps(schema).encode("utf-8", "surrogatepass")
            elif name == chosen:
                member = changed_bytes(choices, member)
            archive.writestr(name, member)
    return stream.getvalue()


TARGETS: tuple[type[Target], ...] = (
    YamlTarget,
    AnswersTarget,
    HttpTarget,
    SituationsTarget,
    ClassifierTarget,
)
