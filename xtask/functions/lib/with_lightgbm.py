"""Trees of LightGBM: a figure a round, early stopping, and a checkpoint every few rounds from which it goes on."""

import json
import os
import pathlib
import time

import lightgbm

from .cancer import parts


def main(inputs, out, params):
    events = open(int(os.environ["MLBUILD_EVENTS"]), "w", buffering=1)
    kept = pathlib.Path(os.environ["MLBUILD_CHECKPOINTS"]) / "trees.txt"
    train, valid = (lightgbm.Dataset(x, label=y) for x, y in parts(inputs["data:cancer"]))
    before = lightgbm.Booster(model_file=kept) if kept.exists() else None
    done = before.current_iteration() if before else 0

    def report(state):
        time.sleep(params["pause"])
        [(_, _, loss, _)] = state.evaluation_result_list
        # Rounds are counted from the beginning, also where this training began later.
        rounds = state.model.current_iteration()
        print(json.dumps({"epoch": rounds, "epochs": params["rounds"], "metrics": {"valid_log_loss": loss}}), file=events)
        if rounds % 5 == 0:
            state.model.save_model(kept.with_suffix(".new"))
            kept.with_suffix(".new").rename(kept)

    model = lightgbm.train(
        {"objective": "binary", "metric": "binary_logloss", "num_threads": 1, "seed": 1, "verbose": -1},
        train,
        num_boost_round=params["rounds"] - done,
        valid_sets=[valid],
        init_model=before,
        callbacks=[report, lightgbm.early_stopping(params["patience"], verbose=False)],
    )
    print(json.dumps({"metrics": {"rounds": model.current_iteration(), "begun_at": done}}), file=events)
    model.save_model(out / "trees.txt")
