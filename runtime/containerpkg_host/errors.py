"""What can be wrong on a host, each with an exit status."""


class HostProblem(Exception):
    """One sentence that names the thing and what to do about it."""

    exit_status = 1


class WrongUsage(HostProblem):
    """Something was asked for that is not there."""

    exit_status = 2


class DamagedImage(HostProblem):
    """A file of an image is not what its package brought."""

    exit_status = 7


class EngineFailed(HostProblem):
    """The container engine did not do what it was asked."""

    exit_status = 8
