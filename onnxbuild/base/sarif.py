"""Diagnostics as a SARIF 2.1.0 log, which code scanning shows; knows neither recipes nor where the codes come from."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from onnxbuild.base.annotations import sentences
from onnxbuild.base.codec import Json
from onnxbuild.base.diagnostics import Diagnostic

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
HOME = "https://github.com/onnxbuild/onnxbuild"


def sarif_log(diagnostics: Sequence[Diagnostic], meaning: Mapping[str, str], version: str, prefix: str = "") -> Json:
    """Return the log as plain values; `meaning` has a sentence for each code, `prefix` leads to the places' files.

    All rules are listed, found broken or not, so that a reader can tell "checked and fine" from "not checked".
    """
    rules = sorted({*meaning, *(diagnostic.code for diagnostic in diagnostics)})
    order = {code: number for number, code in enumerate(rules)}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "onnxbuild",
                        "version": version,
                        "informationUri": HOME,
                        "rules": [_rule(code, meaning.get(code, f"{code.replace('-', ' ')}.")) for code in rules],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(diagnostic, order, prefix) for diagnostic in diagnostics],
            }
        ],
    }


def _rule(code: str, meaning: str) -> Json:
    return {
        "id": code,
        "shortDescription": {"text": meaning},
        "help": {"text": f"{meaning} `onnxbuild check` shows the line and, where it is known, what mends it."},
        "helpUri": f"{HOME}#diagnostics",
    }


def _result(diagnostic: Diagnostic, order: Mapping[str, int], prefix: str) -> Json:
    result: dict[str, Json] = {
        "ruleId": diagnostic.code,
        "ruleIndex": order[diagnostic.code],
        "level": diagnostic.severity.value,
        "message": {"text": "\n".join(sentences(diagnostic)).replace("](", "] (")},  # together they are a link
    }
    if (place := diagnostic.place) is not None:
        region: dict[str, Json] = {"startLine": place.line, "startColumn": place.column}
        if diagnostic.context is not None:
            region["snippet"] = {"text": diagnostic.context}
        file = {"uri": quote(posixpath.normpath(posixpath.join(prefix, place.file))), "uriBaseId": "%SRCROOT%"}
        result["locations"] = [{"physicalLocation": {"artifactLocation": file, "region": region}}]
    return result
