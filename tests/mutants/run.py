#!/usr/bin/env python3
"""Removes one guard after the other, and asks whether a test notices: a claim whose guard can go unseen has no test.

Each `[[mutant]]` of the .toml files beside this has a claim, where it is made, an edit that takes away what it depends on, and the
tests that are to fail (arguments of `cargo test`). Runs in a copy of the tree under OUT, with a build folder of its own.

Usage: run.py OUT [WORD ...]     only mutants whose file, claim or test has one of the words; `slow` adds those that need the
                                 end-to-end suites
"""
import os, re, shutil, subprocess, sys, time, tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
# A mutant that makes a test wait for ever is noticed too.
SECONDS = 900


def mutants(words):
    found = []
    for name in sorted(os.listdir(HERE)):
        if name.endswith(".toml"):
            with open(os.path.join(HERE, name), "rb") as f:
                found += tomllib.load(f)["mutant"]
    words = set(words)
    slow = "slow" in words
    words.discard("slow")
    wanted = lambda m: not words or any(w in m["file"] + m["claim"] + m["test"] for w in words)
    return [m for m in found if wanted(m) and (slow or not m.get("slow"))]


def checked(mutant):
    """The file before and after the edit."""
    with open(os.path.join(TOP, mutant["file"])) as f:
        text = f.read()
    times = text.count(mutant["old"])
    if times != 1 or mutant["old"] == mutant["new"]:
        sys.exit(f"mutants: {mutant['file']} has {times} times {mutant['old']!r}: the edit of \"{mutant['claim']}\" is out of date")
    return text, text.replace(mutant["old"], mutant["new"])


def copy(out):
    """Files that git knows or would take, brought up to date in OUT/tree. What has not changed is not written, for cargo goes by times."""
    tree = os.path.join(out, "tree")
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TOP, check=True,
                            capture_output=True, text=True).stdout
    for path in filter(None, listed.split("\0")):
        source, to = os.path.join(TOP, path), os.path.join(tree, path)
        if not os.path.isfile(source):
            continue
        with open(source, "rb") as f:
            new = f.read()
        if os.path.exists(to):
            with open(to, "rb") as f:
                if f.read() == new:
                    continue
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copyfile(source, to)
    return tree


def cargo_test(tree, out, arguments):
    """(built, passed, names of failed tests)"""
    vectors = os.environ.get("EIDER_ATTEST_VECTORS") or os.path.join(TOP, "..", "shared", "attest-vectors")
    environment = {**os.environ, "CARGO_TARGET_DIR": os.path.join(out, "target"), "CARGO_INCREMENTAL": "1",
                   "CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
                   # With them a compiler makes system calls for which its jail ends it.
                   "CARGO_PROFILE_DEV_DEBUG_ASSERTIONS": "false",
                   **({"EIDER_ATTEST_VECTORS": vectors} if os.path.isdir(vectors) else {})}
    cargo = os.environ.get("CARGO", "cargo")
    # With the program, which has every dependency with all its features, no selection builds one anew. Nothing of it is tested.
    more = [] if "--workspace" in arguments else ["-p", "eider-cli"]
    command = [cargo, "test", "--locked", "--no-fail-fast", *more, *arguments.split()]
    # The end-to-end suites start `eider`, which is none of their own.
    programs = [[cargo, "build", "--locked", "-p", "eider-cli", "--bin", "eider"]] if "--workspace" in arguments else []
    try:
        for build in [*programs, [*command, "--no-run"]]:
            said = subprocess.run(build, cwd=tree, env=environment, capture_output=True, text=True)
            if said.returncode != 0:
                return False, False, said.stderr[-3000:]
        said = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return True, False, ["did not end"]
    failed = re.findall(r"^test (\S+)(?: - should panic)? \.\.\. FAILED", said.stdout, re.M)
    ran = sum(map(int, re.findall(r"^running (\d+) tests?$", said.stdout, re.M)))
    if said.returncode == 0 and ran == 0:
        return True, True, f"no test is named so: cargo test {arguments}"
    return True, said.returncode == 0, failed or [said.stderr[-300:] if said.returncode else ""]


def main():
    out, asked = os.path.abspath(sys.argv[1]), mutants(sys.argv[2:])
    edits = [checked(m) for m in asked]
    tree = copy(out)
    suites = {m["test"] for m in asked}
    print(f"mutants: {len(asked)}, noticed by {len(suites)} selections of tests, which must pass before: "
          "some minutes to build, then some seconds for each", flush=True)
    for suite in sorted(suites):
        built, passed, said = cargo_test(tree, out, suite)
        if not built or not passed or isinstance(said, str):
            sys.exit(f"mutants: without a mutant, cargo test {suite} does not pass: {said}")
    survivors, broken, start = [], [], time.monotonic()
    for number, (mutant, (before, after)) in enumerate(zip(asked, edits), 1):
        path = os.path.join(tree, mutant["file"])
        write(path, after)
        try:
            built, passed, said = cargo_test(tree, out, mutant["test"])
        finally:
            write(path, before)
        if not built:
            broken.append(mutant)
            said = f"DOES NOT COMPILE {said[-600:]}"
        elif passed:
            survivors.append(mutant)
            said = "SURVIVED"
        else:
            said = "noticed by " + ", ".join(said[:3]) + (f" and {len(said) - 3} more" if len(said) > 3 else "")
        print(f"{number}/{len(asked)} {mutant['claim']}  [{mutant['file']}]  {said}", flush=True)
    print(f"mutants: {len(asked) - len(survivors) - len(broken)} noticed, {len(survivors)} survived, {len(broken)} do not compile, "
          f"{time.monotonic() - start:.0f} s")
    sys.exit(bool(survivors or broken))


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


if __name__ == "__main__":
    main()
