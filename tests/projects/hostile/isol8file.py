"""Output that wants to act on the terminal or on the CI service."""

from isol8tasks import Image, stage

stage(
    "hostile",
    image=Image.bash(),
    run="printf '%b' \"$ATTACK\"; exit 1",
    inputs=[],
    env={
        "ATTACK": r"\033[2J\033]0;owned\007red\rgreen\n"
        r"::error::owned\n  ::set-output name=a::b\n##vso[task.complete]x\n"
        r"##teamcity[buildStop]\n--- group\n[bold]markup[/bold]\n\0302\0233m\n"
    },
)
