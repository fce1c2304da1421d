from celery.result import AsyncResult
from flask import Blueprint, request

from . import tasks

bp = Blueprint("notes", __name__)


@bp.post("/<task>")
def start(task):
    result = getattr(tasks, task).delay(*request.json)
    return {"id": result.id}


@bp.get("/result/<id>")
def result(id):
    found = AsyncResult(id)
    if not found.ready():
        return {"ready": False}
    return {
        "ready": True,
        "successful": found.successful(),
        "state": found.state,
        "value": found.result if found.successful() else repr(found.result),
    }
