"""Stages that go on until somebody stops them."""

from isol8tasks import Image, stage

shell = Image.bash()

stage("first", image=shell, run="echo done", inputs=[])
stage("sleeps", image=shell, run="echo begun; sleep 60", inputs=[], requires=["first"])
stage("never", image=shell, run="true", inputs=[], requires=["sleeps"])
