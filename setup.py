"""The compiled half of the package: one cffi module, one abi3 wheel for 3.11-3.13."""

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel


class AbiWheel(bdist_wheel):  # type: ignore[misc]
    """Tag the wheel cp311-abi3: cffi's module uses the limited API alone."""

    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        return "cp311", "abi3", platform


setup(
    cffi_modules=["csrc/ffi_build.py:ffibuilder"],
    cmdclass={"bdist_wheel": AbiWheel},
)
