import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rule


class Promises(unittest.TestCase):
    def test_the_word_is_replaced_wherever_it_stands(self):
        own = rule.settings("{}")

        self.assertEqual(rule.replaced(own, "a secret, a secret"), "a public, a public")
        self.assertIsNone(rule.replaced(own, "nothing"))

    def test_a_setting_that_is_not_known_is_named(self):
        with self.assertRaisesRegex(ValueError, "`form`"):
            rule.settings('{"form": "x"}')

    def test_a_value_that_is_no_text_is_named(self):
        with self.assertRaisesRegex(ValueError, "a text is expected for `from`"):
            rule.settings('{"from": 7}')


if __name__ == "__main__":
    unittest.main()
