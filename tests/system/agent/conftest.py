"""One company for a whole module (satchel-server and Dovecot), a fresh laptop for each test."""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from company import PASSWORD, Company  # noqa: E402
from laptop import Laptop  # noqa: E402


@pytest.fixture(scope="module")
def company():
    c = Company()
    try:
        c.mail.start()
        yield c
    finally:
        c.stop()


@pytest.fixture
def laptop():
    with Laptop() as one:
        yield one


@pytest.fixture
def enrolled(company, laptop):
    """A laptop with its mail, of an employee of its own: (laptop, login)."""
    login = company.employee()
    laptop.enroll(company.link(login), PASSWORD)
    return laptop, login
