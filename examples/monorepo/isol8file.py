"""The whole repository: what stands for all of its packages, and what is made of several."""

from isol8tasks import stage, task

from tools import images

release = stage(
    "release",
    image=images.python,
    run="sha256sum libs/core/dist/*.whl libs/client/*.tgz apps/web/page.html > SHA256SUMS",
    inputs=["//libs/core:wheel", "//libs/client:package", "//apps/web:page"],
    outputs=["SHA256SUMS"],
    description="the checksums of what is shipped",
)

task("checks", "//...:checks", default=True)
task("lint", "//...:lint")
task("all", "checks", release)
