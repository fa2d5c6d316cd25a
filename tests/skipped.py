#!/usr/bin/env python3
"""Lists the tests that ctest skipped, with the reason that each gave.

usage: skipped.py BUILD/Testing/Temporary/LastTest.log
A reason is what follows GoogleTest's "Skipped" line, else the last line that says "cannot be had", "missing" or
"skipped", else the last line of output.
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
    return lines[-1] if lines else 'no reason given'


def main() -> int:
    try:
        with open(sys.argv[1], encoding='utf-8', errors='replace') as log:
            text = log.read()
    except OSError as error:
        print(f'skipped.py: {error}', file=sys.stderr)
        return 1
    skipped = []
    for section in re.split(r'(?m)^\d+/\d+ Testing: ', text)[1:]:
        if not re.search(r'(?m)^Test Skipped\.$', section):
            continue
        name = section.split('\n', 1)[0]
        output = re.search(r'(?s)\nOutput:\n-+\n(.*?)<end of output>', section)
        skipped.append((name, reason(output[1] if output else '')))
    if skipped:
        print(f'\n{len(skipped)} tests were skipped:')
        for name, why in skipped:
            print(f'  {name}: {why}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
