<?php // What a release keeps of an order beside the address. ?>
