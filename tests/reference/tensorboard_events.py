"""Reads an event file of the logger `tensorboard` back with TensorBoard's own package.

In an environment with tests/reference/requirements.txt:

    FLUXBAY_TENSORBOARD_SAMPLE=/tmp/sample cargo test -p fluxbay-loggers tensorboard
    python tests/reference/tensorboard_events.py /tmp/sample
"""

import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

events = EventAccumulator(sys.argv[1], size_guidance={"tensors": 0, "scalars": 0, "histograms": 0, "images": 0}).Reload()
tags = events.Tags()
print(tags)

loss = events.Scalars("step/training/metrics/loss")
assert [event.step for event in loss] == [1, 2, 3], loss
assert [event.wall_time for event in loss] == [1001.0, 1002.0, 1003.0], loss
assert all(abs(event.value - 1 / event.step) < 1e-7 for event in loss), loss

[note] = events.Tensors("note")
assert note.tensor_proto.string_val == [b"a *text*"], note
assert events.SummaryMetadata("note").plugin_data.plugin_name == "text"

[histogram] = events.Histograms("histogram")
values = histogram.histogram_value
assert (histogram.step, values.min, values.max, values.num) == (7, 0.0, 9.9, 100.0), histogram
assert abs(values.sum - 495.0) < 1e-9 and sum(values.bucket) == 100 and len(values.bucket_limit) == 30

[image] = events.Images("image")
assert (image.step, image.width, image.height) == (8, 4, 4), image
assert image.encoded_image_string.startswith(b"\x89PNG")

content = {}
for tag in ["_hparams_/experiment", "_hparams_/session_start_info"]:
    data = events.SummaryMetadata(tag).plugin_data
    assert data.plugin_name == "hparams"
    content[tag] = plugin_data_pb2.HParamsPluginData.FromString(data.content)
started = content["_hparams_/session_start_info"].session_start_info.hparams
assert started["learning-rate"].number_value == 0.001 and started["nesterov"].bool_value and started["kind"].string_value == "adamw"
infos = {info.name: info.type for info in content["_hparams_/experiment"].experiment.hparam_infos}
assert infos == {"learning-rate": 3, "nesterov": 2, "kind": 1}, infos
print("TensorBoard reads everything back.")
