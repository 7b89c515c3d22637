"""Every request that the application has a route for, made from its routes and its description.

A route or an argument that nobody has told this of makes a test fail, rather than be left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from api.operations.openapi import describe

API = "/api/v1"
# What stands in a path where it is not an id.
TEXTS = {"slug": "walk", "name": "docs.js", "token": "walk"}


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    endpoint: str
    body: Any = None
    content_type: str | None = None

    def arguments(self) -> dict[str, Any]:
        """As the test client takes it."""
        given: dict[str, Any] = {"path": self.path, "method": self.method}
        if self.content_type == "application/x-www-form-urlencoded":
            return given | {"data": self.body}
        if self.content_type is not None:
            return given | {"json": self.body, "content_type": self.content_type}
        return given

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def scope_of(app: Flask, rule: Rule) -> str | None:
    """The scope that the route asks for."""
    scope: str | None = getattr(app.view_functions[rule.endpoint], "required_scope", None)
    return scope


def methods_of(rule: Rule) -> list[str]:
    """The methods that have a view of their own."""
    return sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})


def path_of(rule: Rule, ids: Mapping[str, str]) -> str:
    """The path of a rule, with these ids in it and 1 for all others."""
    path = rule.rule
    for argument in rule.arguments:
        path = path.replace(f"<id:{argument}>", ids.get(argument, "1"))
        for kind in ("", "slug:"):
            path = path.replace(f"<{kind}{argument}>", TEXTS.get(argument, "<unknown>"))
    assert "<" not in path, f"{rule} has an argument that this does not know"
    return path


def requests_of(app: Flask, ids: Mapping[str, str]) -> Iterator[Asked]:
    """All of them: each method that a route answers, those that Flask adds included."""
    bodies = Bodies(app)
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods or ()):
            body, content_type = bodies.of(rule.endpoint, method)
            yield Asked(method, path_of(rule, ids), rule.endpoint, body, content_type)


class Bodies:
    """Bodies that validate, made of the examples of the description."""

    def __init__(self, app: Flask) -> None:
        self._description = describe(app.extensions["signpost.openapi"])
        self._operations = {
            (method, operation["operationId"]): operation
            for item in self._description["paths"].values()
            for method, operation in item.items()
            if method in ("get", "post", "put", "patch", "delete")
        }

    def of(self, endpoint: str, method: str) -> tuple[Any, str | None]:
        """The smallest body that an operation takes, and its type; nothing if it takes none."""
        name = endpoint.rpartition(".")[2]
        operation = self._operations.get((method.lower(), name), {})
        for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
            return self._example(content["schema"]), content_type
        return None, None

    def fields(self, endpoint: str, method: str) -> dict[str, Any]:
        """The schemas of the members of an operation's body, by name."""
        name = endpoint.rpartition(".")[2]
        operation = self._operations.get((method.lower(), name), {})
        fields: dict[str, Any] = {}
        for content in operation.get("requestBody", {}).get("content", {}).values():
            fields |= self._resolved(content["schema"]).get("properties", {})
        return fields

    def parameters(self, endpoint: str, method: str) -> list[str]:
        """The names of an operation's parameters in the query."""
        name = endpoint.rpartition(".")[2]
        operation = self._operations.get((method.lower(), name), {})
        return [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in schema:
            return schema
        return dict(self._description["components"]["schemas"][schema["$ref"].rpartition("/")[2]])

    def _example(self, schema: dict[str, Any]) -> Any:
        schema = self._resolved(schema)
        for name in ("example", "default", "const"):
            if name in schema:
                return schema[name]
        if "enum" in schema:
            return schema["enum"][0]
        if "items" in schema:
            return [self._example(schema["items"])]
        if "properties" in schema:
            required = schema.get("required", ())
            return {name: self._example(schema["properties"][name]) for name in required}
        return "example"
