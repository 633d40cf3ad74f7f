import os
import unittest


class Greeting(unittest.TestCase):
    def test_that_the_variable_came_through(self):
        self.assertEqual(os.environ["GREETING"], "it's me")
