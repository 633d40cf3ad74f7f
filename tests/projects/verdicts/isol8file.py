"""One stage for each way in which a stage can end."""

from isol8tasks import Image, stage, task

shell = Image.bash()

passes = stage("passes", image=shell, run="echo hello", inputs=[])
fails = stage("fails", image=shell, run="echo out; echo err >&2; exit 3", inputs=[])
stage("needs-it", image=shell, run="true", inputs=[], requires=[fails])
stage("needs-that", image=shell, run="true", inputs=[], requires=["needs-it"])
stage("allowed", image=shell, run="exit 4", inputs=[], allow_failure=True)
stage("retried", image=shell, run="exit 5", inputs=[], retries=2)
stage("endless", image=shell, run="while :; do :; done", inputs=[], timeout="300ms")
stage("args", image=shell, run=("echo", "got"), inputs=[], posargs=True)
stage("talks", image=shell, run="cat; head -c 100 /dev/zero | tr '\\0' x", inputs=[], stdin="in\n")
stage("makes", image=shell, run="echo made > made.txt", inputs=[], outputs=["made.txt"])

task("quick", passes, fails, "needs-that", default=True)
