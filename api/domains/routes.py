"""`/domains`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.core.answers import json_response
from api.core.http import Blueprint, page_response, principal
from api.core.registry import service
from api.domains.schemas import DOMAIN_IN, DOMAIN_PAGE, PAGE_QUERY, DomainOut, present_domain
from api.domains.service import DomainService

blueprint = Blueprint("domains", __name__, description="Host names that serve short links")


def _domains() -> DomainService:
    return service(DomainService)


@blueprint.route("/domains", methods=["POST"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(DOMAIN_IN)
@blueprint.audited("domain.claim", tell=("host",))
@blueprint.answers(201, DomainOut, headers=("Location",))
@blueprint.fails(409)
def claim_domain(body: dict[str, Any]) -> Response:
    """Claim a host name for the workspace's short links"""
    row = _domains().claim(principal().workspace_id, body["host"])
    return json_response(present_domain(row), 201, {"Location": f"/api/v1/domains/{row.id}"})


@blueprint.route("/domains")
@blueprint.scope("workspace:admin")
@blueprint.takes_query(PAGE_QUERY)
@blueprint.answers(200, DOMAIN_PAGE, headers=("Link",))
def list_domains(query: dict[str, Any]) -> Response:
    """List the claimed domains, newest first"""
    rows, cursor = _domains().list_domains(principal().workspace_id, **query)
    return page_response([present_domain(row) for row in rows], cursor)


@blueprint.route("/domains/<id:domain_id>")
@blueprint.scope("workspace:admin")
@blueprint.answers(200, DomainOut)
@blueprint.fails(404)
def get_domain(domain_id: int) -> Response:
    """Read one domain"""
    return json_response(present_domain(_domains().get_domain(principal().workspace_id, domain_id)))


@blueprint.route("/domains/<id:domain_id>", methods=["DELETE"])
@blueprint.scope("workspace:admin")
@blueprint.audited("domain.release")
@blueprint.answers(204)
@blueprint.fails(404)
def release_domain(domain_id: int) -> Response:
    """Give a domain up; its links stay"""
    _domains().release(principal().workspace_id, domain_id)
    return Response(status=204)
