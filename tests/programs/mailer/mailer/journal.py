import json
import os


def note(*what):
    with open(os.environ["PROGRAM_FOLDER"] + "/journal", "a") as file:
        file.write(json.dumps(what) + "\n")
