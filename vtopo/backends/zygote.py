"""The program that makes a lab's hosts: `python -I -S zygote.py`.

It is compiled each time that it is started, so all but its start is in a module, which is compiled once.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120
    from vtopo.backends.zygote_server import main

    main()
