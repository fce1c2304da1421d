from celery import Celery

app = Celery("mailer", include=["mailer.tasks", "mailer.watch"])
app.config_from_object("mailer.celeryconfig")

if __name__ == "__main__":
    app.start()
