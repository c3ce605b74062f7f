"""Mends the trading stream of a data directory and kills itself with -9 at a named point: DIR POINT PASSED.

Every point that is passed on the way is a line in the file PASSED.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tapeline.mend import mend_folder
from tests.durability.ledger import settings_of
from tests.system.kill_rebuild import KillAt

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(mend_folder(folder, settings_of(folder), KillAt(sys.argv[2], Path(sys.argv[3]))))
