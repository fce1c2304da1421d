import os

from kombu import Exchange, Queue

prefix = os.environ["PROGRAM_QUEUE"]
mail = Exchange(f"{prefix}-mail", type="direct")
topics = Exchange(f"{prefix}-topics", type="topic", durable=True)

broker_url = os.environ["PROGRAM_BROKER"]
result_backend = os.environ["PROGRAM_RESULTS"]
task_default_queue = f"{prefix}-default"
task_queues = (
    Queue(f"{prefix}-default", mail, routing_key="default"),
    Queue(f"{prefix}-slow", mail, routing_key="slow", queue_arguments={"x-max-priority": 5}),
    Queue(f"{prefix}-news", topics, routing_key="news.#"),
)
task_routes = {
    "mailer.tasks.bulk_*": {"queue": f"{prefix}-slow", "priority": 3},
    "mailer.tasks.announce": {"queue": f"{prefix}-news", "routing_key": "news.today"},
}
task_annotations = {"mailer.tasks.flaky": {"max_retries": 2}}
task_serializer = "json"
accept_content = ["json"]
result_extended = True
enable_utc = True
