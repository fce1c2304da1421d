import os

from celery import Celery, Task
from flask import Flask


def init_celery(app):
    class InAppContext(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery = Celery(app.name, task_cls=InAppContext)
    celery.config_from_object(app.config["CELERY"])
    celery.set_default()
    app.extensions["celery"] = celery
    return celery


def create_app():
    app = Flask(__name__)
    app.config.from_mapping(
        GREETING="Dear",
        CELERY={
            "broker_url": os.environ["PROGRAM_BROKER"],
            "result_backend": os.environ["PROGRAM_RESULTS"],
            "task_default_queue": os.environ["PROGRAM_QUEUE"],
            "task_ignore_result": True,
        },
    )
    init_celery(app)

    from notes import views

    app.register_blueprint(views.bp)
    return app
