"""One model in both implementations: whatever is done to it, they stay equal."""

# SPDX-License-Identifier: MIT

from typing import Any

import cside
import numpy as np
import reference as ref
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Core

Samples = list[tuple[np.ndarray, int]]


class Twins:
    """One model in both implementations; the C one with a level of kernels."""

    def __init__(self, blob: bytes, level: int = 0) -> None:
        self.core, self.model = Core(blob, level=level), ref.open_model(blob)
        self.same_state()

    def start(self, stream: int, config: ref.Config | None = None) -> None:
        """Begins or resumes a stream."""
        given = ffi.NULL
        if config is not None:
            given = ffi.new("struct wage_config *", tuple(vars(config).values()))
        assert lib.wage_start(self.core.wage, stream, given) == 0
        ref.start(self.model, stream, config)

    def learn(self, x: np.ndarray, label: int) -> ref.Record:
        """Learns one sample; the records are equal, and what a prediction said before."""
        (guess,) = self.predict([(x, label)])
        id = self.model.last_id + 1
        record = ref.learn(self.model, id, x, label)
        assert as_record(cside.learn(self.core, id, x, label)) == record
        assert (guess.prediction, guess.p_label) == (record.prediction, record.p_label)
        return record

    def predict(self, samples: Samples) -> list[ref.Record]:
        """Predicts samples at once."""
        x, labels = [x for x, _ in samples], [label for _, label in samples]
        found = cside.together(self.core, lib.wage_predict, x, labels)
        records = [as_record(one) for one in found]
        assert records == [ref.predict(self.model, *sample) for sample in samples]
        return records

    def train(self, samples: Samples) -> None:
        """One step on samples at once; the records are equal, and what predictions said before."""
        guesses = self.predict(samples)
        x, labels = [x for x, _ in samples], [label for _, label in samples]
        found = cside.together(self.core, lib.wage_train, x, labels)
        records = [as_record(one) for one in found]
        done = ref.train(self.model, samples)
        pairs = zip(done.predictions, labels, done.p_labels, strict=True)
        assert records == [
            ref.Record(0, label, prediction, p, done.skipped) for prediction, label, p in pairs
        ]
        for guess, record in zip(guesses, records, strict=True):
            assert (guess.prediction, guess.p_label) == (record.prediction, record.p_label)

    def same_state(self) -> None:
        """The CRCs are equal, the weights, and the counts by class as C tells them."""
        model, core = self.model, self.core
        for layer, w in zip(model.trained, core.weights(), strict=True):
            if layer.w is not None and layer.moves:
                np.testing.assert_array_equal(w, layer.w, f"layer {layer.index}")
        assert core.weight_crc() == ref.weight_crc(model)
        assert core.state_crc() == ref.state_crc(model)
        seen, right = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        for c in range(model.classes):
            assert lib.wage_class_metrics(core.wage, c, seen, right) == 0
            assert (seen[0], right[0]) == (model.class_seen[c], model.class_correct[c])
        over = lib.wage_class_metrics(core.wage, model.classes, seen, right)
        assert ERROR_NAMES[over] == "WAGE_E_LABEL"


def as_record(record: Any) -> ref.Record:
    """struct wage_record as the oracle's."""
    return ref.Record(
        record.id, record.label, record.prediction, record.p_label, int(record.skipped)
    )
