#!/usr/bin/env python3
"""Passes ctest's output on; before ctest's summary it lists the skipped tests with the reason that each gave.

usage: ctest ... 2>&1 | skipped.py BUILD/Testing/Temporary/LastTest.log
A reason is what follows GoogleTest's "Skipped" line, else the last line that says "cannot be had", "missing" or
"skipped", else the last line of the test's output.
"""
import re
import sys


def reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for number, line in enumerate(lines[:-1]):
        if re.search(r'\.cc:\d+: Skipped$', line):
            return lines[number + 1]
    for pattern in ('cannot be had', 'missing', 'skipped'):
        for line in reversed(lines):
            if pattern in line:
                return line
    return lines[-1] if lines else 'it gave no reason'


def outputs(log: str) -> dict[str, str]:
    """Each test's output from ctest's own log."""
    found = {}
    for section in re.split(r'(?m)^\d+/\d+ Testing: ', log)[1:]:
        output = re.search(r'(?s)\nOutput:\n-+\n(.*?)<end of output>', section)
        found[section.split('\n', 1)[0]] = output[1] if output else ''
    return found


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    summary = []  # held back: ctest's last lines stay the last ones
    for line in sys.stdin:
        if summary or re.match(r'\d+% tests passed', line):
            summary.append(line)
        else:
            print(line, end='', flush=True)
    skipped = [match[1] for line in summary if (match := re.match(r'\s+\d+ - (.*) \(Skipped\)$', line))]
    if skipped:
        try:
            with open(sys.argv[1], encoding='utf-8', errors='replace') as log:
                told = outputs(log.read())
        except OSError:
            told = {}
        print(f'{len(skipped)} tests were skipped:')
        for name in skipped:
            print(f'  {name}: {reason(told.get(name, ""))}')
        print()
    print(''.join(summary), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main())
