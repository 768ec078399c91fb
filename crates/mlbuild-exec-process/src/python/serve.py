

# What follows is appended to `run.py`: a process that has imported some packages and forks itself for each call, so that
# a call pays neither for the interpreter nor for them. It runs nothing of the project before it forks.

import ctypes
import gc
import select
import signal
import socket

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
LANDLOCK_RESTRICT_SELF = 446

LIBC = ctypes.CDLL(None, use_errno=True)


def may_fork():
    """Whether a child would be whole: other threads would be missing in it. jemalloc's own it starts again itself."""
    threads = (pathlib.Path("/proc/self/task", thread, "comm").read_text() for thread in os.listdir("/proc/self/task"))
    return sum(thread.strip() != "jemalloc_bg_thd" for thread in threads) == 1


def serve(modules):
    """Forks for each request on standard input; returns, in the child alone, the request's file.

    A request is the names of its descriptors, with commas between, a blank, and the path of its file. There are `log`,
    `status`, a pipe for its process id and exit status, and where it has them `events` and `sandbox`.
    """
    # Nothing is imported from the current folder.
    sys.path[0] = os.devnull
    for module in modules:
        with contextlib.suppress(Exception):
            __import__(module)
    control = socket.socket(fileno=os.dup(0))
    gc.collect()
    gc.freeze()
    parent, running, poll = os.getpid(), {}, select.poll()
    poll.register(control, select.POLLIN)
    control.sendall(b"%d\n" % may_fork())
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in running:
                pid, status = running.pop(descriptor)
                poll.unregister(descriptor)
                os.write(status, b"%d\n" % os.waitpid(pid, 0)[1])
                os.close(descriptor)
                os.close(status)
                continue
            request, given, _, _ = socket.recv_fds(control, 1 << 16, 4)
            if not request:
                sys.exit()
            names, _, request = request.partition(b" ")
            given = dict(zip(names.decode().split(","), given))
            status = given.pop("status")
            pid = os.fork() if may_fork() else -1
            if pid == 0:
                for others, (_, other) in running.items():
                    os.close(others)
                    os.close(other)
                control.close()
                os.close(status)
                become(parent, **given)
                return os.fsdecode(request)
            for other in given.values():
                os.close(other)
            with contextlib.suppress(BrokenPipeError):
                os.write(status, b"%d\n" % pid)
            if pid == -1:
                os.close(status)
            else:
                ended = os.pidfd_open(pid)
                running[ended] = pid, status
                poll.register(ended, select.POLLIN)


def become(parent, log, events=None, sandbox=None):
    """Makes a process of its own of a fork: its session, its output and events, its end with the parent, its sandbox."""
    os.setsid()
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(nothing)
    os.close(log)
    if events is not None:
        # Where it is: a library may have what it needs in any other place.
        os.set_inheritable(events, True)
        os.environ["MLBUILD_EVENTS"] = str(events)
    if sandbox is not None:
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if LIBC.syscall(LANDLOCK_RESTRICT_SELF, sandbox, 0) != 0:
            os.write(2, b"cannot enter the sandbox\n")
            os._exit(1)
        os.close(sandbox)


if __name__ == "__main__":
    main(serve(sys.argv[1:]))
