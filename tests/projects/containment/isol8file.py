"""Programs that do not want to end. `MARK` is replaced by the test, to find their processes."""

from isol8tasks import Image, stage

LOOP = "while :; do :; done"
SLEEP = "sleep MARK"

common = {"image": Image.bash(), "inputs": [], "timeout": "1s"}

stage("endless-loop", run=LOOP, **common)
stage("term-ignored", run=f"trap '' TERM INT HUP; {LOOP}", **common)
stage("double-fork", run=f"({SLEEP} & ) ; ( ( {SLEEP} & ) & ); {SLEEP}", **common)
stage("setsid", run=f"setsid {SLEEP} & setsid setsid {SLEEP} & wait", **common)
stage("daemon-left-behind", run=f"setsid {SLEEP} >/dev/null 2>&1 & exit 0", **common)
stage("pipe-held-open", run=f"{SLEEP} & exit 0", **common)
stage("stopped-itself", run="kill -STOP $$", **common)

for number in range(8):
    stage(
        f"busy-{number}",
        image=Image.bash(),
        run=f"setsid {SLEEP} & {LOOP}",
        inputs=[],
        cpus=0.1,
        memory="64m",
        tags=["busy"],
        timeout="5m",
    )
