from celery import shared_task
from flask import current_app, g


@shared_task(ignore_result=False)
def greet(name):
    g.greeted = [*g.get("greeted", []), name]
    return f"{current_app.config['GREETING']} {name}, {len(g.greeted)} in this context"


@shared_task(bind=True, ignore_result=False)
def spell(self, text):
    for number, letter in enumerate(text, 1):
        self.update_state(state="PROGRESS", meta={"current": number, "total": len(text)})
        if letter == "?":
            raise ValueError(f"no letter: {letter}")
    return text.upper()


@shared_task
def forgotten():
    return "nobody sees this"
